/**
 * Where a file lies between being written and being saved: small ones in memory, large ones on the browser's disk for
 * this page (the origin private file system), so that memory stays flat. Only this page can read them there. Those of an
 * export go when another of its kind is begun, and at once where it is not handed over; those of a tab that is gone, when
 * the page is opened again.
 */
import type { FileStream } from "../base/bytes.ts";
import { GraftError } from "../base/errors.ts";
import { checkWritten, crc32 } from "../formats/crc32.ts";
import { blobSource } from "../formats/sources.ts";

/** A file that was written, and its CRC-32, which a zip of it will want. */
export interface KeptFile {
  readonly name: string;
  readonly blob: Blob;
  readonly crc32: number;
}

const LARGE_BYTES = 32 * 2 ** 20;
const FOLDER = "graft-export-";

export class ExportStore {
  private readonly disk: (() => Promise<FileSystemDirectoryHandle>) | undefined;
  /** The kind of the export that is under way, and how many large files it has. */
  private current = { kind: "", large: 0 };
  /** The name of this tab's folder, from its first large file on. */
  private own: string | undefined;

  /** `disk` opens the page's own file system; undefined where there is none, in Node. */
  constructor(disk: (() => Promise<FileSystemDirectoryHandle>) | undefined) {
    this.disk = disk;
  }

  begin(kind: string): void {
    this.current = { kind, large: 0 };
  }

  /** Throws where what then lies there is not what was written. */
  async write(file: FileStream): Promise<KeptFile> {
    const folder = file.byteLength >= LARGE_BYTES ? await this.folder() : undefined;
    const kept = await (folder ? writeOn(folder, String(this.current.large++), file) : writeInMemory(file));
    await checkWritten(blobSource(kept.blob, kept.name), kept.crc32);
    return kept;
  }

  /** Removes what was written since `begin`: it is not handed over. */
  async discard(): Promise<void> {
    const { kind, large } = this.current;
    if (large === 0 || this.own === undefined) return;
    const root = await this.disk?.();
    const own = await root?.getDirectoryHandle(this.own);
    await own?.removeEntry(kind, { recursive: true });
  }

  /** Removes what tabs that are gone have left. */
  async sweep(): Promise<void> {
    const root = await this.disk?.().catch(() => undefined);
    if (!root) return;
    const held = new Set((await navigator.locks.query()).held?.map(({ name }) => name));
    const names: string[] = [];
    for await (const name of root.keys()) names.push(name);
    const left = names.filter((name) => name.startsWith(FOLDER) && !held.has(name));
    // Another tab may be sweeping, too.
    await Promise.allSettled(left.map((name) => root.removeEntry(name, { recursive: true })));
  }

  /** Undefined where the browser keeps no files for this page: then memory has to do. */
  private async folder(): Promise<FileSystemDirectoryHandle | undefined> {
    const root = await this.disk?.().catch(() => undefined);
    if (!root) return undefined;
    if (this.own === undefined) {
      const own = FOLDER + crypto.randomUUID();
      await holdLock(own);
      this.own = own;
    }
    const { kind, large } = this.current;
    const own = await root.getDirectoryHandle(this.own, { create: true });
    // There is none where it is the first of its kind.
    if (large === 0) await own.removeEntry(kind, { recursive: true }).catch(() => {});
    return own.getDirectoryHandle(kind, { create: true });
  }
}

/** Until the tab is gone: nothing gives it back. */
function holdLock(name: string): Promise<void> {
  return new Promise((resolve) => {
    void navigator.locks.request(name, () => {
      resolve();
      return new Promise<void>(() => {});
    });
  });
}

async function writeInMemory({ name, pieces }: FileStream): Promise<KeptFile> {
  const parts: Blob[] = [];
  let crc = 0;
  for await (const piece of pieces()) {
    crc = crc32(piece, crc);
    // As a Blob of its own: a browser may put these away, an array it may not.
    parts.push(new Blob([piece as Uint8Array<ArrayBuffer>]));
  }
  return { name, blob: new Blob(parts), crc32: crc };
}

async function writeOn(
  folder: FileSystemDirectoryHandle,
  place: string,
  { name, byteLength, pieces }: FileStream,
): Promise<KeptFile> {
  const handle = await folder.getFileHandle(place, { create: true });
  const disk = await handle.createWritable();
  let [crc, written] = [0, 0];
  try {
    for await (const piece of pieces()) {
      crc = crc32(piece, crc);
      await disk.write(piece as Uint8Array<ArrayBuffer>);
      written += piece.length;
    }
    await disk.close();
  } catch (thrown) {
    await disk.abort().catch(() => {});
    if (thrown instanceof DOMException) throw diskFull(name, byteLength, written);
    throw thrown;
  }
  return { name, blob: await handle.getFile(), crc32: crc };
}

function diskFull(name: string, wanted: number, written: number): GraftError {
  return new GraftError(
    "disk-full",
    `${name} has ${wanted} bytes, and the browser had room for ${written} of them.`,
    "Make room on the disk, or open the page in a window that is not private.",
  );
}
