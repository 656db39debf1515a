/** Parquet, row group by row group. */
import { gunzipSync } from "fflate";
import type { Compressors, FileMetaData } from "hyparquet";
import type { ByteSource } from "../../base/bytes.ts";
import { DataError, GraftError } from "../../base/errors.ts";
import type { Json, JsonObject } from "../../base/json.ts";
import { decodeUtf8, type Mended } from "../unicode.ts";
import type { RawRecord, Reading } from "./reading.ts";

/** More than can be trained on: a file of a hundred bytes can claim any number. */
const MAX_ROWS = 10_000_000;
/** Of one page, unpacked: a few hundred bytes can claim gigabytes. */
const MAX_PAGE_BYTES = 256 * 2 ** 20;

export async function* readParquet(reading: Reading): AsyncGenerator<RawRecord, void, void> {
  const { source, advance, mended } = reading;
  // Only those who have such files wait for it.
  const { parquetMetadataAsync, parquetReadObjects } = await import("hyparquet");
  const compressors = await unpackers();
  const file = { byteLength: source.size, slice: sliceOf(source) };
  const readFile = <T>(read: () => Promise<T>): Promise<T> => asDataError(source.name, read);
  const parsers = { stringFromBytes: (bytes: Uint8Array) => bytes && decodeUtf8(bytes, mended) };
  const metadata: FileMetaData = await readFile(() => parquetMetadataAsync(file, { geoparquet: false }));
  if (metadata.num_rows > MAX_ROWS) throw unreadable(source.name, `it claims ${metadata.num_rows} rows`);
  let row = 0;
  let bytesRead = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = row + Number(group.num_rows);
    const options = { file, metadata, compressors, parsers, rowStart: row, rowEnd, utf8: false };
    const rows = await readFile(async () => {
      return (await parquetReadObjects(options)).map((values) => jsonOf(values, mended) as JsonObject);
    });
    for (const values of rows) yield { values, line: ++row };
    if (row !== rowEnd) throw unreadable(source.name, `it claims ${rowEnd} rows and has ${row}`);
    bytesRead += Number(group.total_compressed_size ?? 0n);
    advance(Math.min(bytesRead, source.size));
  }
}

function sliceOf(source: ByteSource) {
  return async (start: number, end = source.size): Promise<ArrayBuffer> => {
    const bytes = await source.read(Math.max(0, start), Math.min(end, source.size));
    return new Uint8Array(bytes).buffer;
  };
}

/** In plain JavaScript: the worker that holds the rows may compile no WebAssembly. */
async function unpackers(): Promise<Compressors> {
  const [{ snappyUncompress }, zstd] = await Promise.all([import("hyparquet"), import("fzstd")]);
  const into = (length: number): Uint8Array => {
    if (length <= MAX_PAGE_BYTES) return new Uint8Array(length);
    throw new Error(`a page claims ${length} bytes, ${MAX_PAGE_BYTES} are allowed`);
  };
  return {
    SNAPPY: (bytes, length) => {
      const page = into(length);
      snappyUncompress(bytes, page);
      return page;
    },
    GZIP: (bytes, length) => gunzipSync(bytes, { out: into(length) }),
    ZSTD: (bytes, length) => zstd.decompress(bytes, into(length)),
  };
}

async function asDataError<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (thrown) {
    if (thrown instanceof GraftError) throw thrown;
    throw unreadable(name, (thrown as Error).message.replace(/^parquet /, "").replace(/\.$/, ""));
  }
}

function unreadable(name: string, why: string): DataError {
  return new DataError(
    "parquet",
    `${name} cannot be read as Parquet: ${why}.`,
    "Write it again, uncompressed or with snappy, gzip or zstd, or as JSONL.",
  );
}

/** What is neither text, number, truth, list nor object is null: no column of such a kind can be trained on. */
function jsonOf(value: unknown, mended: Mended): Json {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : null;
    case "bigint":
      return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
    case "object":
      return value === null ? null : jsonOfObject(value, mended);
    default:
      return null;
  }
}

function jsonOfObject(value: object, mended: Mended): Json {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  // A text whose writer did not say that it is one.
  if (value instanceof Uint8Array) return decodeUtf8(value, mended) ?? null;
  if (Array.isArray(value)) return value.map((item) => jsonOf(item, mended));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, jsonOf(item, mended)]));
}
