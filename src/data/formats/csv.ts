/** Comma- and tab-separated values: a header, then rows of as many fields. Every field is a text. */
import Papa from "papaparse";
import { DataError } from "../../base/errors.ts";
import { show } from "../../base/json.ts";
import { plural } from "../../base/words.ts";
import { RowFault } from "../faults.ts";
import { MAX_ROW_BYTES, type RawRecord, type Reading, textChunks } from "./reading.ts";

/** Enough of a file to tell what parts its fields. */
const HEAD_CHARACTERS = 64 * 1024;
/** After an unclosed quote reading goes on with the next line. How many characters may be read in vain, in all. */
const MAX_VAIN_CHARACTERS = 64_000_000;

export async function* readCsv(reading: Reading): AsyncGenerator<RawRecord, void, void> {
  yield* readSeparated(reading);
}

export async function* readTsv(reading: Reading): AsyncGenerator<RawRecord, void, void> {
  yield* readSeparated(reading, "\t");
}

async function* readSeparated(reading: Reading, delimiter?: string): AsyncGenerator<RawRecord, void, void> {
  const { faults, source } = reading;
  let columns: readonly string[] | undefined;
  for await (const { fields, line } of fieldRows(reading, delimiter)) {
    if (fields.length === 1 && fields[0]!.trim() === "") continue;
    if (!columns) {
      columns = headerOf(fields, source.name);
    } else if (fields.length === columns.length) {
      yield { values: Object.fromEntries(columns.map((column, i) => [column, fields[i]!])), line };
    } else faults.add(line, wrongCount(fields, columns.length));
  }
}

interface FieldRow {
  readonly fields: readonly string[];
  /** Where it begins, counted from 1. */
  readonly line: number;
}

async function* fieldRows(reading: Reading, given?: string): AsyncGenerator<FieldRow, void, void> {
  let layout: Layout | undefined;
  let rest = "";
  let line = 1;
  const vain = { characters: 0 };
  const parse = (text: string, isLast: boolean): FieldRow[] => {
    layout ??= layoutOf(text, given);
    const { rows, read, lines } = parsePart({ reading, text, layout, firstLine: line, isLast, vain });
    rest = text.slice(read);
    line += lines;
    return rows;
  };
  for await (const text of decodedChunks(reading)) yield* parse(rest + text, false);
  if (rest !== "") yield* parse(rest, true);
}

/** Throws DataError where the file is not UTF-8: fields that cannot be read cannot be counted either. */
async function* decodedChunks(reading: Reading): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const { name } = reading.source;
  try {
    for await (const bytes of textChunks(reading)) yield decoder.decode(bytes, { stream: true });
    decoder.decode();
  } catch (thrown) {
    if (!(thrown instanceof TypeError)) throw thrown;
    throw new DataError(
      "not-utf8",
      `${name} is not UTF-8.`,
      'Save it as UTF-8; spreadsheets call that "CSV UTF-8".',
    );
  }
}

interface Layout {
  readonly delimiter: string;
  readonly newline: "\n" | "\r";
}

function layoutOf(text: string, given: string | undefined): Layout {
  const head = text.slice(0, HEAD_CHARACTERS);
  const guessed = () => Papa.parse<string[]>(head, { preview: 20, skipEmptyLines: true }).meta.delimiter;
  // A line that ends with \r\n is read as one that ends with \n.
  const newline = head.includes("\n") || !head.includes("\r") ? "\n" : "\r";
  return { delimiter: given ?? guessed(), newline };
}

interface Part {
  readonly reading: Reading;
  readonly text: string;
  readonly layout: Layout;
  readonly firstLine: number;
  /** Nothing follows: what has no end ends here. */
  readonly isLast: boolean;
  /** Read for nothing so far: a quote was not closed. */
  readonly vain: { characters: number };
}

/** The whole rows of a text, how many of its characters they are, and how many lines. */
function parsePart(part: Part): { rows: FieldRow[]; read: number; lines: number } {
  const { reading, text, layout, firstLine, isLast, vain } = part;
  const rows: FieldRow[] = [];
  let read = 0;
  let line = firstLine;
  /** Leaves a line out, and goes on after it. */
  const skipLine = (): void => {
    reading.faults.add(line, UNCLOSED);
    const end = text.indexOf(layout.newline, read);
    read = end < 0 ? text.length : end + 1;
    line++;
  };
  for (;;) {
    const parsed = parseUntilFault(text.slice(read), layout, isLast);
    for (const fields of parsed.rows) {
      rows.push({ fields, line });
      line += 1 + fields.reduce((sum, field) => sum + countOf(layout.newline, field), 0);
    }
    read += parsed.read;
    const isUnclosed = !isLast && text.length - read > MAX_ROW_BYTES;
    if (!parsed.isFaulty && !isUnclosed) return { rows, read, lines: line - firstLine };
    // Without the next line nothing can be left out alone.
    if (!isLast && text.indexOf(layout.newline, read) < 0) {
      if (text.length - read <= MAX_ROW_BYTES) return { rows, read, lines: line - firstLine };
      throw new DataError("line-too-long", `${reading.source.name}, line ${line} is longer than 8 MB.`);
    }
    vain.characters += parsed.isFaulty ? parsed.looked - parsed.read : text.length - read;
    if (vain.characters > MAX_VAIN_CHARACTERS) throw tooManyQuotes(reading.source.name);
    skipLine();
  }
}

/** Rows up to the first whose quotes are wrong: how many characters they are, and how many were looked at. */
function parseUntilFault(
  text: string,
  { delimiter, newline }: Layout,
  isLast: boolean,
): { rows: string[][]; read: number; looked: number; isFaulty: boolean } {
  const rows: string[][] = [];
  let read = 0;
  let looked = 0;
  let isFaulty = false;
  const parser = new Papa.Parser({
    delimiter,
    newline,
    step: ({ data, errors, meta }) => {
      looked = meta.cursor;
      if (errors.length > 0) {
        isFaulty = true;
        parser.abort();
        return;
      }
      for (const fields of data as string[][]) rows.push(withoutReturn(fields));
      read = meta.cursor;
    },
  });
  parser.parse(text, 0, !isLast);
  return { rows, read, looked, isFaulty };
}

function withoutReturn(fields: string[]): string[] {
  const last = fields.length - 1;
  if (fields[last]!.endsWith("\r")) fields[last] = fields[last]!.slice(0, -1);
  return fields;
}

function headerOf(fields: readonly string[], name: string): readonly string[] {
  // Tables that were written with their index have a column without a name.
  const columns = fields.map((field, i) => field.trim() || `column ${i + 1}`);
  const twice = firstTwice(columns);
  if (twice !== undefined) {
    const found = `${name} has two columns named ${show(twice)}.`;
    throw new DataError("csv-header", found, "Rename one of them in the first line.");
  }
  if (columns.includes("__proto__")) {
    throw new DataError(
      "csv-header",
      `${name} has a column named "__proto__".`,
      "Rename it in the first line.",
    );
  }
  return columns;
}

function firstTwice(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}

function wrongCount({ length }: readonly string[], columns: number): RowFault {
  const found = ` has ${length} ${plural(length, "field")}, the header has ${columns}.`;
  const remedy = 'A field with a separator, a quote or a line end in it stands in "…", its quotes doubled.';
  return new RowFault("csv-fields", found, remedy);
}

const UNCLOSED = new RowFault(
  "csv-quote",
  " opens a quote that is not closed.",
  'A field in quotes ends with "; a quote inside it is written "".',
);

function tooManyQuotes(name: string): DataError {
  const found = `${name} opens so many quotes without closing them that its rows cannot be told apart.`;
  return new DataError("csv-quote", found, "Is it separated in another way than its name says?");
}

function countOf(letter: string, text: string): number {
  let count = 0;
  for (let at = text.indexOf(letter); at >= 0; at = text.indexOf(letter, at + 1)) count++;
  return count;
}
