import type { ByteSource, FileSet, FileStream } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";

/** Reads a dropped File (or any Blob) in pieces; the browser keeps the rest on disk. */
export function blobSource(blob: Blob, name: string): ByteSource {
  return {
    name,
    size: blob.size,
    async read(start, end) {
      checkRange(name, blob.size, start, end);
      return new Uint8Array(await blob.slice(start, end).arrayBuffer());
    },
  };
}

export function arraySource(bytes: Uint8Array, name: string): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(start, end) {
      checkRange(name, bytes.byteLength, start, end);
      return bytes.subarray(start, end);
    },
  };
}

/** A folder given as a map from file name to source. */
export function mapFileSet(label: string, files: ReadonlyMap<string, ByteSource>): FileSet {
  return { label, open: (name) => files.get(name), names: () => [...files.keys()] };
}

/** Bytes that are handed on at a time. */
const PIECE_BYTES = 1 << 22;

/** A file as it is, piece by piece. */
export function copyStream(source: ByteSource): FileStream {
  const { name, size } = source;
  return {
    name,
    byteLength: size,
    async *pieces() {
      for (let start = 0; start < size; start += PIECE_BYTES) {
        yield source.read(start, Math.min(size, start + PIECE_BYTES));
      }
    },
  };
}

export function textStream(name: string, text: string): FileStream {
  return copyStream(arraySource(new TextEncoder().encode(text), name));
}

/** Files that are in memory. */
export function bytesFileSet(label: string, files: ReadonlyMap<string, Uint8Array>): FileSet {
  const sources = [...files].map(([name, bytes]) => [name, arraySource(bytes, name)] as const);
  return mapFileSet(label, new Map(sources));
}

/**
 * Files dropped on a page, by their own names. A dropped folder gives paths (`model/config.json`): the folder is
 * flat, so files in its subfolders (`model/onnx/config.json`) are left aside rather than confused with its own.
 */
export function blobFileSet(label: string, files: Iterable<File>): FileSet {
  const list = [...files];
  const depth = (file: File) => file.webkitRelativePath?.split("/").length ?? 1;
  const shallowest = Math.min(...list.map(depth));
  const sources = new Map<string, ByteSource>();
  for (const file of list) {
    if (depth(file) === shallowest) sources.set(file.name, blobSource(file, file.name));
  }
  return mapFileSet(label, sources);
}

/** Throws FormatError unless 0 ≤ start ≤ end ≤ size. */
export function checkRange(name: string, size: number, start: number, end: number): void {
  if (start >= 0 && start <= end && end <= size) return;
  throw new FormatError("range", `${name} has ${size} bytes; bytes ${start} to ${end} were wanted.`);
}

/** Bytes [start, end) of a tensor that begins at `from` in its file. Rejects with FormatError where it has no such. */
export async function readTensor(
  source: ByteSource,
  { name, byteLength }: { readonly name: string; readonly byteLength: number },
  from: number,
  [start, end]: readonly [start: number, end: number],
): Promise<Uint8Array> {
  if (start >= 0 && start <= end && end <= byteLength) return source.read(from + start, from + end);
  const wanted = `bytes ${start} to ${end} of the ${byteLength} of tensor "${name}"`;
  throw new FormatError("range", `${source.name} was asked for ${wanted}.`);
}

/** The pieces as they come, which must have so many bytes together; otherwise `refuse` is told how many there were. */
export async function* exactly(
  wanted: number,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  refuse: (written: number) => never,
): AsyncGenerator<Uint8Array> {
  let written = 0;
  for await (const piece of pieces) {
    written += piece.byteLength;
    if (written > wanted) break;
    yield piece;
  }
  if (written !== wanted) refuse(written);
}
