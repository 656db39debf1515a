/** Files as tables: their columns and rows as they are, before anything is said of what they mean. */
import type { ByteSource } from "../base/bytes.ts";
import { type Fault, Faults } from "./faults.ts";
import { readCsv, readTsv } from "./formats/csv.ts";
import { detectFormat, HEAD_BYTES } from "./formats/detect.ts";
import { readJson, readJsonLines } from "./formats/json.ts";
import { readParquet } from "./formats/parquet.ts";
import type { DataFormat, RawRecord, Reader } from "./formats/reading.ts";
import { readParagraphs, readTextLines, readWholeText } from "./formats/text.ts";

export interface Table {
  /** The file's name. */
  readonly name: string;
  readonly format: DataFormat;
  /** All that any row has, in order of first appearance. */
  readonly columns: readonly string[];
  readonly records: readonly RawRecord[];
  /** The first faults, and how many there are; their rows are not among the records. */
  readonly faults: readonly Fault[];
  readonly faultCount: number;
  /** Halves of surrogate pairs that stood alone and became U+FFFD. */
  readonly replacedSurrogates: number;
}

export interface ReadOptions {
  /** Of every file; absent: each its own, as its name and first bytes tell. */
  readonly format?: DataFormat | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Hears how far reading has come: bytes of all files together, and rows so far. */
  readonly onProgress?: ((bytesRead: number, bytesTotal: number, rows: number) => void) | undefined;
}

const READERS: Readonly<Record<DataFormat, { readonly read: Reader; readonly unit: "line" | "row" }>> = {
  jsonl: { read: readJsonLines, unit: "line" },
  json: { read: readJson, unit: "row" },
  csv: { read: readCsv, unit: "line" },
  tsv: { read: readTsv, unit: "line" },
  parquet: { read: readParquet, unit: "row" },
  text: { read: readWholeText, unit: "row" },
  "text-lines": { read: readTextLines, unit: "line" },
  "text-paragraphs": { read: readParagraphs, unit: "line" },
};

/** In which unit a format's rows have their place. */
export function unitOf(format: DataFormat): "line" | "row" {
  return READERS[format].unit;
}

/**
 * The formats of files that are read together. A plain text that comes alone is rows between blank lines, or lines
 * where none is blank; several are a row each. Throws DataError where one is of no kind that is read.
 */
export async function detectFormats(sources: readonly ByteSource[]): Promise<DataFormat[]> {
  const heads = await Promise.all(sources.map((source) => source.read(0, Math.min(HEAD_BYTES, source.size))));
  const formats = sources.map(({ name }, i) => detectFormat(name, heads[i]!));
  if (formats.length !== 1 || formats[0] !== "text") return formats;
  const text = new TextDecoder().decode(heads[0]).trim();
  return [/\n[^\S\n]*\n/.test(text) ? "text-paragraphs" : "text-lines"];
}

/**
 * Reads files one after the other. Rows that cannot be read are counted as faults. Throws DataError where a file as a
 * whole cannot be, and the signal's reason once it is raised.
 */
export async function readTables(
  sources: readonly ByteSource[],
  options: ReadOptions = {},
): Promise<Table[]> {
  const { format } = options;
  const formats = format ? sources.map(() => format) : await detectFormats(sources);
  const bytesTotal = sources.reduce((sum, { size }) => sum + size, 0);
  let bytesBefore = 0;
  let rowsBefore = 0;
  const tables: Table[] = [];
  for (const [i, source] of sources.entries()) {
    const advance = (bytesRead: number, rows: number): void => {
      options.signal?.throwIfAborted();
      options.onProgress?.(bytesBefore + bytesRead, bytesTotal, rowsBefore + rows);
    };
    const table = await readTable(source, formats[i]!, advance);
    bytesBefore += source.size;
    rowsBefore += table.records.length;
    tables.push(table);
  }
  return tables;
}

async function readTable(
  source: ByteSource,
  format: DataFormat,
  onAdvance: (bytesRead: number, rows: number) => void,
): Promise<Table> {
  const { read, unit } = READERS[format];
  const faults = new Faults(source.name, unit);
  const mended = { surrogates: 0 };
  const records: RawRecord[] = [];
  const columns = new Set<string>();
  const advance = (bytesRead: number): void => onAdvance(bytesRead, records.length);
  advance(0);
  for await (const record of read({ source, faults, mended, advance })) {
    records.push(record);
    for (const column in record.values) columns.add(column);
  }
  return {
    name: source.name,
    format,
    columns: [...columns],
    records,
    faults: faults.kept,
    faultCount: faults.count,
    replacedSurrogates: mended.surrogates,
  };
}
