/** What the columns of a table mean: rows as TRL and its neighbours know them, or by a mapping. */
import { DataError } from "../base/errors.ts";
import { type Json, type JsonObject, show } from "../base/json.ts";
import { type Fault, Faults, KEPT_FAULTS, RowFault, refusal } from "./faults.ts";
import type { RawRecord } from "./formats/reading.ts";
import { type ColumnMapping, guessMapping, mappedColumns, rowMaker } from "./mapping.ts";
import { checkAnswered, messagesOf, toolsOf } from "./messages.ts";
import type { ChatRow, Message, ParsedRows, Row } from "./rows.ts";
import { type Table, unitOf } from "./table.ts";

export type RowShape =
  | { readonly kind: "text"; readonly column: string }
  /** Texts, or lists of messages. */
  | { readonly kind: "prompt-completion" }
  /** A list of messages, by OpenAI's names (role, content) or ShareGPT's (from, value). */
  | { readonly kind: "messages"; readonly column: string }
  /** Alpaca's instruction, input and output: a question, what it is about, and its answer. */
  | { readonly kind: "instruction" }
  | { readonly kind: "mapping"; readonly mapping: ColumnMapping };

export interface ShapeOptions {
  /** Of every file; absent: each its own, as its columns tell. */
  readonly shape?: RowShape | undefined;
  /** The column of texts, where a table has one of this name and no conversations; "text" unless told. */
  readonly textColumn?: string | undefined;
  /** Whether a row that cannot be used refuses its file (the default), or is counted and left out. */
  readonly faulty?: "refuse" | "skip" | undefined;
  /** Rows that were made before in the same meaning, by their records: they are taken, and new ones added. */
  readonly made?: WeakMap<RawRecord, Row> | undefined;
}

const WANTED =
  "A row is {text}, {prompt, completion}, {messages}, {conversations} or {instruction, input, output}";

/** The shape that most rows of a table have; undefined where its columns have other names. In doubt as TRL decides. */
export function detectShape({ columns, records }: Table, textColumn = "text"): RowShape | undefined {
  const candidates: readonly (readonly [shape: RowShape, needs: readonly string[]])[] = [
    [{ kind: "messages", column: "messages" }, ["messages"]],
    [{ kind: "messages", column: "conversations" }, ["conversations"]],
    [{ kind: "prompt-completion" }, ["prompt", "completion"]],
    [{ kind: "text", column: textColumn }, [textColumn]],
    [{ kind: "instruction" }, ["instruction", "output"]],
  ];
  let best: RowShape | undefined;
  let most = 0;
  for (const [shape, needs] of candidates) {
    if (!needs.every((column) => columns.includes(column))) continue;
    const count = records.reduce((sum, record) => sum + (hasAll(record, needs) ? 1 : 0), 0);
    if (count > most) [best, most] = [shape, count];
  }
  return best;
}

function hasAll({ values }: RawRecord, columns: readonly string[]): boolean {
  return columns.every((column) => Object.hasOwn(values, column));
}

/**
 * The rows of tables. Throws DataError: a table of no known shape, one without a single good row, and with
 * `faulty: "refuse"` one that has any other.
 */
export function rowsOf(tables: readonly Table[], options: ShapeOptions = {}): ParsedRows {
  const rows: Row[] = [];
  const places: number[] = [];
  const faults: Fault[] = [];
  const unused = new Set<string>();
  let faultCount = 0;
  let before = 0;
  for (const table of tables) {
    const found = rowsOfTable(table, options);
    for (const row of found.rows) rows.push(row);
    for (const place of found.places) places.push(before + place);
    before += table.records.length;
    faults.push(...found.faults);
    faultCount += found.faultCount;
    for (const column of found.unusedColumns) unused.add(column);
  }
  if (faultCount > 0 && (rows.length === 0 || (options.faulty ?? "refuse") === "refuse")) {
    throw refusal(faults, faultCount, rows.length > 0);
  }
  if (rows.length === 0) {
    const names = tables.map(({ name }) => name).join(", ") || "Nothing";
    throw new DataError(
      "rows-empty",
      `${names} has no row.`,
      `${WANTED}, or any columns with column_mapping.`,
    );
  }
  return {
    rows,
    places,
    replacedSurrogates: tables.reduce((sum, { replacedSurrogates }) => sum + replacedSurrogates, 0),
    faults: faults.slice(0, KEPT_FAULTS),
    faultCount,
    unusedColumns: [...unused],
  };
}

interface TableRows {
  readonly rows: readonly Row[];
  /** Of which record each was made. */
  readonly places: readonly number[];
  readonly faults: readonly Fault[];
  readonly faultCount: number;
  readonly unusedColumns: readonly string[];
}

function rowsOfTable(table: Table, { shape: given, textColumn, made }: ShapeOptions): TableRows {
  const { name, columns, records, format } = table;
  if (records.length === 0) return { ...table, rows: [], places: [], unusedColumns: [] };
  const shape = given ?? detectShape(table, textColumn);
  if (!shape) throw unknownShape(table);
  const faults = new Faults(name, unitOf(format));
  const make = makerOf(shape, table);
  const rows: Row[] = [];
  const places: number[] = [];
  for (const [place, record] of records.entries()) {
    const { values, line } = record;
    const row = made?.get(record) ?? faults.catch(line, () => make(values, line));
    if (!row) continue;
    made?.set(record, row);
    rows.push(row);
    places.push(place);
  }
  const used = usedColumns(shape);
  return {
    rows,
    places,
    faults: [...table.faults, ...faults.kept].sort((a, b) => a.line - b.line),
    faultCount: table.faultCount + faults.count,
    unusedColumns: columns.filter((column) => !used.includes(column)),
  };
}

type RowMaker = (values: JsonObject, line: number) => Row;

function makerOf(shape: RowShape, { columns, name }: Table): RowMaker {
  switch (shape.kind) {
    case "text":
      return (values, line) => ({ text: textOf(values, shape.column), line });
    case "prompt-completion":
      return promptRow;
    case "messages":
      return (values, line) => {
        const messages = messagesOf(columnOf(values, shape.column), shape.column);
        checkAnswered(messages);
        return chatRow(messages, values, line);
      };
    case "instruction":
      return instructionRow;
    case "mapping":
      return rowMaker(shape.mapping, columns, name);
    default:
      return shape satisfies never;
  }
}

function usedColumns(shape: RowShape): readonly string[] {
  switch (shape.kind) {
    case "text":
      return [shape.column];
    case "prompt-completion":
      return ["prompt", "completion", "tools"];
    case "messages":
      return [shape.column, "system", "tools"];
    case "instruction":
      return ["instruction", "input", "output", "system", "tools"];
    case "mapping":
      return mappedColumns(shape.mapping);
    default:
      return shape satisfies never;
  }
}

function promptRow(values: JsonObject, line: number): Row {
  if (typeof values.prompt === "string" && typeof values.completion === "string") {
    return { prompt: values.prompt, completion: values.completion, line };
  }
  if (typeof columnOf(values, "prompt") === "string") textOf(values, "completion");
  const prompt = messagesOf(values.prompt, "prompt");
  const completion = messagesOf(columnOf(values, "completion"), "completion");
  checkAnswered(completion);
  const row: ChatRow = { messages: [...prompt, ...completion], promptTurns: prompt.length, line };
  return withTools(row, values);
}

/** Alpaca's rows are conversations of one question and one answer. */
function instructionRow(values: JsonObject, line: number): Row {
  const input = values.input ?? "";
  if (typeof input !== "string") throw notText("input", input);
  const instruction = textOf(values, "instruction");
  const question = input.trim() === "" ? instruction : `${instruction}\n\n${input}`;
  const messages: Message[] = [
    { role: "user", content: question },
    { role: "assistant", content: textOf(values, "output") },
  ];
  return chatRow(messages, values, line);
}

/** A conversation whose system message may stand in a column of its own. */
function chatRow(messages: readonly Message[], values: JsonObject, line: number): ChatRow {
  const { system } = values;
  const hasOwn = typeof system === "string" && system.trim() !== "" && messages[0]?.role !== "system";
  const all = hasOwn ? [{ role: "system", content: system }, ...messages] : messages;
  return withTools({ messages: all, line }, values);
}

function withTools(row: ChatRow, values: JsonObject): ChatRow {
  const tools = toolsOf(values.tools);
  return tools ? { ...row, tools } : row;
}

function textOf(values: JsonObject, column: string): string {
  const value = columnOf(values, column);
  if (typeof value === "string") return value;
  throw notText(column, value);
}

function columnOf(values: JsonObject, column: string): Json {
  if (Object.hasOwn(values, column)) return values[column]!;
  throw new RowFault("row-shape", ` has ${keysOf(Object.keys(values))} and no ${show(column)}.`);
}

function notText(column: string, value: Json): RowFault {
  return new RowFault("row-text", ` has ${show(column)}: ${show(value)}, expected a string.`);
}

function keysOf(keys: readonly string[]): string {
  if (keys.length === 0) return "no key at all";
  return `the keys ${keys.slice(0, 6).map(show).join(", ")}${keys.length > 6 ? ", …" : ""}`;
}

function unknownShape({ name, columns }: Table): DataError {
  const isPreference = columns.includes("chosen") && columns.includes("rejected");
  const kind = isPreference ? " (preference pairs, which are not trained here)" : "";
  const guess = guessMapping(columns);
  const remedy = guess
    ? `Probably meant: "column_mapping": ${JSON.stringify(guess)}.`
    : 'Say what they are: "column_mapping": {"user": "{…}", "assistant": "{…}"}.';
  return new DataError("row-shape", `${name} has ${keysOf(columns)}${kind}. ${WANTED}.`, remedy);
}
