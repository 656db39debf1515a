import { DataError } from "../../base/errors.ts";
import { isJsonObject } from "../../base/json.ts";
import { type DataFormat, withoutMark } from "./reading.ts";

/** How much of a file `detectFormat` looks at, in bytes. */
export const HEAD_BYTES = 64 * 1024;

const BY_EXTENSION: Readonly<Record<string, DataFormat>> = {
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".json": "json",
  ".csv": "csv",
  ".tsv": "tsv",
  ".parquet": "parquet",
  ".txt": "text",
};

/** What a file that is no text begins with, what people call it, and what to do. */
const BINARY: readonly (readonly [magic: readonly number[], kind: string, remedy: string])[] = [
  [
    [0x50, 0x4b, 0x03, 0x04],
    "a zip archive or a spreadsheet",
    'Unpack it; save a spreadsheet as "CSV UTF-8".',
  ],
  [[0x1f, 0x8b], "packed with gzip", "Unpack it."],
  [[0x28, 0xb5, 0x2f, 0xfd], "packed with zstd", "Unpack it."],
  [[0x25, 0x50, 0x44, 0x46], "a PDF", "Save its text as .txt."],
];
const PARQUET = [0x50, 0x41, 0x52, 0x31];
const READ = "Graft reads JSONL, JSON, CSV, TSV, Parquet and plain text.";

/** The format that a file's name stands for; undefined where only its content tells. */
export function rowFormat(fileName: string): DataFormat | undefined {
  return BY_EXTENSION[/\.[^.]*$/.exec(fileName.toLowerCase())?.[0] ?? ""];
}

/**
 * The format of a file, from its name and its first bytes. Content wins where it leaves no doubt: JSON Lines are often
 * called .json or .txt. Throws DataError where it is of no kind that is read.
 */
export function detectFormat(fileName: string, head: Uint8Array): DataFormat {
  if (beginsWith(head, PARQUET)) return "parquet";
  const named = rowFormat(fileName);
  if (named === "parquet") return named;
  const text = headText(fileName, head);
  if (named === "csv" || named === "tsv") return named;
  return jsonFormat(text, named) ?? named ?? "text";
}

function headText(fileName: string, head: Uint8Array): string {
  const bytes = withoutMark(head, fileName);
  const known = BINARY.find(([magic]) => beginsWith(bytes, magic));
  if (known) throw new DataError("row-format", `${fileName} is ${known[1]}. ${READ}`, known[2]);
  if (bytes.includes(0)) {
    const found = `${fileName} holds bytes that are no text in UTF-8. ${READ}`;
    throw new DataError("row-format", found, "Convert it, or save it as UTF-8.");
  }
  return new TextDecoder().decode(bytes);
}

/** Whether a text is JSON in one piece or line by line; undefined where it is neither. */
function jsonFormat(text: string, named: DataFormat | undefined): DataFormat | undefined {
  const [first = "", ...others] = text.split("\n").filter((line) => line.trim() !== "");
  const opening = first.trimStart()[0];
  if (opening !== "{" && opening !== "[") return undefined;
  const line = parsed(first);
  const isLine = isJsonObject(line);
  if (isLine && others.length > 0) return "jsonl";
  if (named === "jsonl") {
    return opening === "[" && (line === undefined || others.length === 0) ? "json" : "jsonl";
  }
  if (named === "json") return "json";
  // A text may begin with a bracket.
  if (isLine) return "jsonl";
  return opening === "[" && /^\s*\[\s*\{/.test(text) ? "json" : undefined;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function beginsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, i) => bytes[i] === byte);
}
