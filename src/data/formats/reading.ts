/** What every reader of a format is given, and gives. */
import type { ByteSource } from "../../base/bytes.ts";
import { DataError } from "../../base/errors.ts";
import type { JsonObject } from "../../base/json.ts";
import type { Faults } from "../faults.ts";
import type { Mended } from "../unicode.ts";

export const DATA_FORMATS = [
  "jsonl",
  "json",
  "csv",
  "tsv",
  "parquet",
  "text",
  "text-lines",
  "text-paragraphs",
] as const;

/** `text` is a row for the whole file; `text-lines` one for each line, `text-paragraphs` for what blank lines part. */
export type DataFormat = (typeof DATA_FORMATS)[number];

/** A row as the file has it: its columns by name. */
export interface RawRecord {
  readonly values: JsonObject;
  /** The line of a file of lines, otherwise the row; counted from 1. */
  readonly line: number;
}

/** A file that is being read. */
export interface Reading {
  readonly source: ByteSource;
  readonly faults: Faults;
  readonly mended: Mended;
  /** Tells how far reading has come, in bytes. Throws the reason of an AbortSignal that has been raised. */
  readonly advance: (bytesRead: number) => void;
}

export type Reader = (reading: Reading) => AsyncGenerator<RawRecord, void, void>;

/** The longest row of a text format, in bytes: what one row may cost in memory. */
export const MAX_ROW_BYTES = 8_000_000;
const CHUNK_BYTES = 4 * 1024 * 1024;

/** A text file's bytes in pieces, without its byte-order mark. Throws DataError where it is UTF-16. */
export async function* textChunks({ source, advance }: Reading): AsyncGenerator<Uint8Array, void, void> {
  for (let start = 0; start < source.size; start += CHUNK_BYTES) {
    const end = Math.min(start + CHUNK_BYTES, source.size);
    const bytes = await source.read(start, end);
    yield start === 0 ? withoutMark(bytes, source.name) : bytes;
    advance(end);
  }
}

/** The same, the whole of it. Throws DataError where that is more than `most` bytes. */
export async function wholeText(reading: Reading, most: number, remedy: string): Promise<Uint8Array> {
  const { source, advance } = reading;
  if (source.size > most) {
    const found = `${source.name} has ${source.size} bytes; of this format ${most} can be read.`;
    throw new DataError("too-large", found, remedy);
  }
  const bytes = withoutMark(await source.read(0, source.size), source.name);
  advance(source.size);
  return bytes;
}

export function withoutMark(bytes: Uint8Array, name: string): Uint8Array {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return bytes.subarray(3);
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw new DataError("not-utf8", `${name} is UTF-16, expected UTF-8.`, "Save it as UTF-8.");
  }
  return bytes;
}
