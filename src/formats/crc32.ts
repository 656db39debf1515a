import type { ByteSource } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

/** The CRC-32 of zip and gzip (polynomial 0x04C11DB7, reflected), of bytes that follow those whose CRC is given. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let rest = ~before;
  for (let i = 0; i < bytes.length; i++) rest = (rest >>> 8) ^ TABLE[(rest ^ bytes[i]!) & 255]!;
  return ~rest >>> 0;
}

/** Bytes that are read at a time. */
const READ_AT_ONCE = 1 << 22;

/** The CRC-32 of bytes [start, end) of a source. */
export async function crc32Of(source: ByteSource, start = 0, end = source.size): Promise<number> {
  let crc = 0;
  for (let at = start; at < end; at += READ_AT_ONCE) {
    crc = crc32(await source.read(at, Math.min(end, at + READ_AT_ONCE)), crc);
  }
  return crc;
}

/** Throws FormatError where what was written is not what was given to write: `crc` is that of the bytes given. */
export async function checkWritten(written: ByteSource, crc: number): Promise<void> {
  if ((await crc32Of(written)) === crc) return;
  throw new FormatError(
    "written-otherwise",
    `${written.name}, read back from where it was written, holds other bytes than were written.`,
    "No file was handed over. Look whether the disk is full or failing, and ask for it again.",
  );
}
