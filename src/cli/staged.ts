import { mkdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import type { ByteSource, FileStream } from "../base/bytes.ts";
import { checkWritten, crc32 } from "../formats/crc32.ts";
import { diskError } from "./disk.ts";
import { fileSource } from "./files.ts";

const ENDINGS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Files for a folder, in a hidden one of it, that are put in their places once they are known to be right. A command that
 * is ended meanwhile leaves none of them. Throws FormatError where the folder takes no files.
 */
export class StagedFiles {
  private readonly folder: string;
  private readonly stage: string;
  private readonly names: string[] = [];
  /** The uppermost folder that was made for them. */
  private made: string | undefined;

  /** `folder` is an absolute path; it is made where it is not there. */
  constructor(folder: string) {
    this.folder = folder;
    this.stage = join(folder, `.part-${process.pid}`);
  }

  /** Whether the folder takes files shows before hours of work, not after them. */
  async check(): Promise<void> {
    await this.begin();
    this.discard();
  }

  /** Gives back what then lies on the disk, once that is known to be what was written. */
  async write({ name, pieces }: FileStream): Promise<ByteSource> {
    await this.begin();
    const path = join(this.stage, name);
    this.names.push(name);
    let crc = 0;
    const file = await this.telling(async () => {
      await mkdir(dirname(path), { recursive: true });
      return open(path, "w");
    });
    try {
      for await (const piece of pieces()) {
        crc = crc32(piece, crc);
        await this.telling(() => file.writeFile(piece));
      }
    } finally {
      await this.telling(() => file.close());
    }
    const written = await fileSource(path);
    await checkWritten(written, crc);
    return written;
  }

  /** At once, so that nobody ends the command halfway. */
  keep(): void {
    try {
      for (const name of this.names) {
        const path = join(this.folder, name);
        mkdirSync(dirname(path), { recursive: true });
        renameSync(join(this.stage, name), path);
      }
    } catch (thrown) {
      throw diskError(thrown, this.folder, "written");
    }
    this.made = undefined;
    this.discard();
  }

  discard(): void {
    for (const signal of ENDINGS) process.off(signal, this.end);
    rmSync(this.stage, { recursive: true, force: true });
    try {
      for (let at = this.folder; this.made !== undefined; at = dirname(at)) {
        rmdirSync(at);
        if (at === this.made) this.made = undefined;
      }
    } catch {
      // Somebody else may have put something there.
      this.made = undefined;
    }
  }

  private async begin(): Promise<void> {
    for (const signal of ENDINGS)
      if (!process.listeners(signal).includes(this.end)) process.on(signal, this.end);
    const made = await this.telling(() => mkdir(this.stage, { recursive: true }));
    if (made !== undefined && made !== this.stage) this.made = made;
  }

  private readonly end = (signal: NodeJS.Signals): void => {
    this.discard();
    process.exit(128 + constants.signals[signal]);
  };

  private async telling<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw diskError(thrown, this.folder, "written");
    }
  }
}
