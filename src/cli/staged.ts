import { mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ByteSource, FileStream } from "../base/bytes.ts";
import { fileSource } from "./files.ts";

/** Files for a folder, in a hidden one of it, that are put in their places once they are known to be right. */
export class StagedFiles {
  private readonly folder: string;
  private readonly stage: string;
  private readonly names: string[] = [];
  private madeFolder = false;

  constructor(folder: string) {
    this.folder = folder;
    this.stage = join(folder, `.part-${process.pid}`);
  }

  /** Gives back what then lies on the disk. */
  async write({ name, pieces }: FileStream): Promise<ByteSource> {
    const path = join(this.stage, name);
    const made = await mkdir(dirname(path), { recursive: true });
    if (made !== undefined && !made.startsWith(this.stage)) this.madeFolder = true;
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
    this.madeFolder = false;
    await this.discard();
  }

  async discard(): Promise<void> {
    await rm(this.stage, { recursive: true, force: true });
    // Somebody else may have put something there.
    if (this.madeFolder) await rmdir(this.folder).catch(() => {});
  }
}
