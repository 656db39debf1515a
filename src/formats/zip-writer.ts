/** A file of a zip, whose bytes are elsewhere. */
export interface ZipEntry {
  readonly name: string;
  readonly byteLength: number;
  readonly crc32: number;
}

/** What a zip holds beside its files: `before` each of them, and `after` the last. */
export interface ZipFrame {
  readonly before: readonly Uint8Array[];
  readonly after: Uint8Array;
}

/** From here on a field of 32 bits holds all ones, and an extra field the number. */
const END_32 = 0xffffffff;
const VERSION = 45;
/** Names are UTF-8. */
const FLAGS = 1 << 11;
/** 1 January 1980, the first day there is: the same files give the same bytes. */
const DATE = (1 << 5) | 1;

/**
 * The frame of a zip whose files are stored as they are, by PKWARE's APPNOTE 6.3.10: with it a zip is put together
 * without a copy of what is in it. Sizes and offsets from 4 GiB on are written as Zip64.
 */
export function zipFrame(entries: readonly ZipEntry[]): ZipFrame {
  const before: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const entry of entries) {
    const header = localHeader(entry);
    before.push(header);
    directory.push(centralHeader(entry, offset));
    offset += header.length + entry.byteLength;
  }
  const directoryBytes = directory.reduce((sum, { length }) => sum + length, 0);
  return { before, after: joined([...directory, endRecord(entries.length, directoryBytes, offset)]) };
}

/** 4.3.7: both sizes stand in the extra field where one does. */
function localHeader({ name, byteLength, crc32 }: ZipEntry): Uint8Array {
  const extra = byteLength >= END_32 ? zip64Extra([byteLength, byteLength]) : new Uint8Array();
  const size = Math.min(byteLength, END_32);
  const text = new TextEncoder().encode(name);
  const fields = new Fields().u32(0x04034b50).u16(VERSION).u16(FLAGS).u16(0).u16(0).u16(DATE);
  fields.u32(crc32).u32(size).u32(size).u16(text.length).u16(extra.length);
  return joined([fields.bytes(), text, extra]);
}

/** 4.3.12 */
function centralHeader({ name, byteLength, crc32 }: ZipEntry, offset: number): Uint8Array {
  const large = [
    ...(byteLength >= END_32 ? [byteLength, byteLength] : []),
    ...(offset >= END_32 ? [offset] : []),
  ];
  const extra = large.length > 0 ? zip64Extra(large) : new Uint8Array();
  const size = Math.min(byteLength, END_32);
  const text = new TextEncoder().encode(name);
  const fields = new Fields().u32(0x02014b50).u16(VERSION).u16(VERSION).u16(FLAGS).u16(0).u16(0).u16(DATE);
  fields.u32(crc32).u32(size).u32(size).u16(text.length).u16(extra.length);
  // No comment, first disk, no attributes.
  fields.u16(0).u16(0).u16(0).u32(0).u32(Math.min(offset, END_32));
  return joined([fields.bytes(), text, extra]);
}

/** 4.5.3 */
function zip64Extra(values: readonly number[]): Uint8Array {
  const fields = new Fields().u16(1).u16(8 * values.length);
  for (const value of values) fields.u64(value);
  return fields.bytes();
}

/** 4.3.16, and before it 4.3.14 and 4.3.15 where the directory begins beyond 4 GiB. */
function endRecord(count: number, directoryBytes: number, offset: number): Uint8Array {
  const fields = new Fields();
  if (offset >= END_32) {
    fields.u32(0x06064b50).u64(44).u16(VERSION).u16(VERSION).u32(0).u32(0);
    fields.u64(count).u64(count).u64(directoryBytes).u64(offset);
    fields
      .u32(0x07064b50)
      .u32(0)
      .u64(offset + directoryBytes)
      .u32(1);
  }
  fields.u32(0x06054b50).u16(0).u16(0).u16(count).u16(count);
  return fields.u32(directoryBytes).u32(Math.min(offset, END_32)).u16(0).bytes();
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Numbers one after the other, little-endian. */
class Fields {
  private readonly values: number[] = [];

  u16(value: number): this {
    return this.number(value, 2);
  }

  u32(value: number): this {
    return this.number(value, 4);
  }

  u64(value: number): this {
    return this.number(value, 8);
  }

  bytes(): Uint8Array {
    return Uint8Array.from(this.values);
  }

  private number(value: number, width: number): this {
    for (let i = 0, rest = value; i < width; i++, rest = Math.floor(rest / 256)) this.values.push(rest % 256);
    return this;
  }
}
