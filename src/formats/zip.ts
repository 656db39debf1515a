/**
 * The files of a zip archive, read in pieces: its directory at once, a file when it is asked for. Stored files are read
 * where they lie; deflated ones are unpacked whole. Archives of 4 GiB and more (Zip64) are refused.
 */
import { inflateSync } from "fflate";
import type { ByteSource, FileSet } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { crc32, crc32Of } from "./crc32.ts";
import { checkRange, mapFileSet } from "./sources.ts";

const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const FILE_SIGNATURE = 0x04034b50;
/** Fixed parts, in bytes: the end of the directory, an entry of it, and what stands before a file. */
const [END_BYTES, ENTRY_BYTES, FILE_BYTES] = [22, 46, 30];
/** The end may be followed by a comment of so many bytes. */
const MAX_COMMENT = 0xffff;
const MAX_ENTRIES = 10_000;
/** What is unpacked at most: so much of anything, beyond it so many bytes of each, and never more than one array holds. */
const UNPACKED_FREELY = 2 ** 26;
const MAX_RATIO = 20;
const MAX_UNPACKED = 2 ** 31 - 1;

/** Of what another program may unpack, and of what none can. */
const UNPACK = "Unpack it, and choose the folder.";
const AGAIN = "Download or pack it again.";

interface Entry {
  readonly path: string;
  readonly isDeflated: boolean;
  readonly packedBytes: number;
  readonly bytes: number;
  /** Of what is unpacked. */
  readonly crc: number;
  /** Where its own header begins. */
  readonly start: number;
}

/**
 * The folder of a zip archive in which `wanted` lies, the outermost where there are several; its files without those
 * of its subfolders. Throws FormatError where there is no such file, where it lies in two folders of which none is
 * within the other, and where the archive is broken; a file whose CRC is another is refused when it is first read.
 */
export async function openZip(source: ByteSource, wanted: string): Promise<FileSet> {
  const entries = await readDirectory(source);
  const homes = entries.map(({ path }) => path).filter((path) => `/${path}`.endsWith(`/${wanted}`));
  const depth = (path: string) => path.split("/").length;
  const [home, next] = homes.sort((a, b) => depth(a) - depth(b));
  if (home === undefined) {
    const paths = show(entries.slice(0, 20).map(({ path }) => path));
    throw new FormatError(
      "zip",
      `${source.name} holds no ${wanted}; it holds ${paths}.`,
      `Choose one with a folder that holds ${wanted}.`,
    );
  }
  if (next !== undefined && next !== home && depth(next) === depth(home)) {
    const found = `${source.name} holds ${wanted} in several folders: ${show(homes)}.`;
    throw new FormatError("zip", found, "Unpack it, and choose one of the folders.");
  }
  const folder = home.slice(0, home.length - wanted.length);
  const files = new Map<string, ByteSource>();
  for (const entry of entries) {
    const name = entry.path.slice(folder.length);
    if (!entry.path.startsWith(folder) || name === "" || name.includes("/")) continue;
    if (files.has(name)) throw broken(source, `it holds ${show(entry.path)} twice`, UNPACK);
    files.set(name, entrySource(source, entry, name));
  }
  return mapFileSet(source.name, files);
}

function broken({ name }: ByteSource, found: string, remedy = AGAIN): FormatError {
  return new FormatError("zip", `${name} cannot be read as a zip archive: ${found}.`, remedy);
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

async function readDirectory(source: ByteSource): Promise<Entry[]> {
  const { start, size, count } = await findDirectory(source);
  const bytes = await source.read(start, start + size);
  const view = viewOf(bytes);
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_BYTES > size || view.getUint32(at, true) !== ENTRY_SIGNATURE) {
      throw broken(source, `its directory ends after ${i} of ${count} files`);
    }
    const names = at + ENTRY_BYTES;
    const next =
      names + view.getUint16(at + 28, true) + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    if (next > size) throw broken(source, `file ${i + 1} runs over the end of its directory`);
    const path = new TextDecoder().decode(bytes.subarray(names, names + view.getUint16(at + 28, true)));
    entries.push(entryOf(source, view, at, path));
    at = next;
  }
  return entries;
}

async function findDirectory(source: ByteSource): Promise<{ start: number; size: number; count: number }> {
  const from = Math.max(0, source.size - END_BYTES - MAX_COMMENT);
  const view = viewOf(await source.read(from, source.size));
  for (let at = view.byteLength - END_BYTES; at >= 0; at--) {
    if (view.getUint32(at, true) !== END_SIGNATURE) continue;
    const count = view.getUint16(at + 10, true);
    const size = view.getUint32(at + 12, true);
    const start = view.getUint32(at + 16, true);
    if (count === 0xffff || start === 0xffff_ffff) throw broken(source, "it is of the kind Zip64", UNPACK);
    if (count > MAX_ENTRIES)
      throw broken(source, `it holds ${count} files, ${MAX_ENTRIES} at most are read`, UNPACK);
    if (start + size > from + at) throw broken(source, "its directory lies outside of it");
    return { start, size, count };
  }
  throw broken(source, "it has no directory at its end");
}

function entryOf(source: ByteSource, view: DataView, at: number, path: string): Entry {
  const method = view.getUint16(at + 10, true);
  const packedBytes = view.getUint32(at + 20, true);
  const bytes = view.getUint32(at + 24, true);
  const isDeflated = method === 8;
  if (view.getUint16(at + 8, true) & 1) throw broken(source, `${show(path)} is encrypted`, UNPACK);
  if (method !== 0 && !isDeflated)
    throw broken(source, `${show(path)} is packed by method ${method}`, UNPACK);
  if (leavesFolder(path)) throw broken(source, `it holds ${show(path)}, which leads out of it`);
  const most = isDeflated
    ? Math.min(MAX_UNPACKED, Math.max(UNPACKED_FREELY, MAX_RATIO * packedBytes))
    : packedBytes;
  if (bytes > most || (!isDeflated && bytes < packedBytes)) {
    throw broken(source, `${show(path)} would have ${bytes} bytes, made of ${packedBytes}`, UNPACK);
  }
  const [crc, start] = [view.getUint32(at + 16, true), view.getUint32(at + 42, true)];
  return { path, isDeflated, packedBytes, bytes, crc, start };
}

/** A path from the root, of a drive, or that climbs out of the folder it is unpacked in. */
function leavesFolder(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  return /^\/|[\\:\u0000-\u001f]/.test(path) || path.split("/").includes("..");
}

function entrySource(source: ByteSource, entry: Entry, name: string): ByteSource {
  let start: Promise<number> | undefined;
  let unpacked: Promise<Uint8Array> | undefined;
  let whole: Promise<void> | undefined;
  return {
    name,
    size: entry.bytes,
    async read(from, to) {
      checkRange(name, entry.bytes, from, to);
      start ??= contentStart(source, entry);
      const first = await start;
      if (!entry.isDeflated) {
        whole ??= checkStored(source, entry, first);
        await whole;
        return source.read(first + from, first + to);
      }
      unpacked ??= source
        .read(first, first + entry.packedBytes)
        .then((packed) => unpack(source, entry, packed));
      return (await unpacked).subarray(from, to);
    },
  };
}

async function contentStart(source: ByteSource, { path, start, packedBytes }: Entry): Promise<number> {
  if (start + FILE_BYTES > source.size) throw broken(source, `${show(path)} lies outside of it`);
  const view = viewOf(await source.read(start, start + FILE_BYTES));
  const first = start + FILE_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (view.getUint32(0, true) !== FILE_SIGNATURE || first + packedBytes > source.size) {
    throw broken(source, `${show(path)} is not where its directory says`);
  }
  return first;
}

async function checkStored(source: ByteSource, { path, bytes, crc }: Entry, first: number): Promise<void> {
  if ((await crc32Of(source, first, first + bytes)) !== crc) throw damaged(source, path);
}

function damaged(source: ByteSource, path: string): FormatError {
  return new FormatError(
    "zip",
    `${source.name} is damaged: the bytes of ${show(path)} are not those that were packed (CRC-32).`,
    AGAIN,
  );
}

function unpack(source: ByteSource, { path, bytes, crc }: Entry, packed: Uint8Array): Uint8Array {
  let unpacked: Uint8Array | undefined;
  try {
    // Room for one more shows whether there are more.
    unpacked = inflateSync(packed, { out: new Uint8Array(bytes + 1) });
  } catch (thrown) {
    throw broken(source, `${show(path)} does not unpack (${(thrown as Error).message})`);
  }
  if (unpacked.length !== bytes) throw broken(source, `${show(path)} unpacks to other than ${bytes} bytes`);
  if (crc32(unpacked) !== crc) throw damaged(source, path);
  return unpacked;
}
