import { mkdir, open, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ByteSource, FileStream } from "../base/bytes.ts";
import { checkWritten, crc32 } from "../formats/crc32.ts";
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

  /** Gives back what then lies on the disk, once that is known to be what was written. */
  async write({ name, pieces }: FileStream): Promise<ByteSource> {
    const path = join(this.stage, name);
    const made = await mkdir(dirname(path), { recursive: true });
    if (made !== undefined && !made.startsWith(this.stage)) this.madeFolder = true;
    this.names.push(name);
    const file = await open(path, "w");
    let crc = 0;
    try {
      for await (const piece of pieces()) {
        crc = crc32(piece, crc);
        await file.writeFile(piece);
      }
    } finally {
      await file.close();
    }
    const written = await fileSource(path);
    await checkWritten(written, crc);
    return written;
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
