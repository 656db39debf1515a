import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ByteSource, FileStream } from "../base/bytes.ts";
import { fileSource } from "./files.ts";

/** Files for a folder, written beside it, that are put there once they are known to be right. */
export class StagedFiles {
  private readonly folder: string;
  private readonly stage: string;
  private readonly names: string[] = [];

  constructor(folder: string) {
    this.folder = folder;
    this.stage = `${folder}.part-${process.pid}`;
  }

  /** Gives back what then lies on the disk. */
  async write({ name, pieces }: FileStream): Promise<ByteSource> {
    const path = join(this.stage, name);
    await mkdir(dirname(path), { recursive: true });
    this.names.push(name);
    const file = await open(path, "w");
    try {
      for await (const piece of pieces()) await file.writeFile(piece);
    } finally {
      await file.close();
    }
    return fileSource(path);
  }

  async keep(): Promise<void> {
    for (const name of this.names) {
      const path = join(this.folder, name);
      await mkdir(dirname(path), { recursive: true });
      await rename(join(this.stage, name), path);
    }
    await this.discard();
  }

  async discard(): Promise<void> {
    await rm(this.stage, { recursive: true, force: true });
  }
}
