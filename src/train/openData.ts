/**
 * Rows that are looked at and edited before they are trained on. Files are read once; what their columns mean, and what
 * is held out, is decided anew as often as it is asked.
 */
import type { ByteSource } from "../base/bytes.ts";
import { ConfigError, DataError, type Failure, failure, GraftError } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { type Fault, KEPT_FAULTS, refusal } from "../data/faults.ts";
import type { DataFormat, RawRecord } from "../data/formats/reading.ts";
import { type ColumnMapping, guessMapping } from "../data/mapping.ts";
import type { ParsedRows, Row } from "../data/rows.ts";
import { detectShape, type RowShape } from "../data/shapes.ts";
import type { ReadOptions, Table } from "../data/table.ts";
import { arrangeRows, type Dataset, type DataTables, readDataTables } from "./dataset.ts";
import type { TrainConfig } from "./fields.ts";

export interface DataSources {
  readonly train: readonly ByteSource[];
  readonly heldOut: readonly ByteSource[];
  /** Equal for the same files: those are not read twice. */
  readonly key: string;
}

/** What people are told about rows before they are trained on. */
export interface DataFacts {
  /** Another one whenever the rows are others. */
  readonly version: number;
  readonly files: readonly { readonly name: string; readonly format: DataFormat }[];
  readonly columns: readonly string[];
  /** What the columns of the first file are taken for; undefined where they have names of their own. */
  readonly shape: RowShape | undefined;
  /** What they probably are. */
  readonly guess: ColumnMapping | undefined;
  /** Rows of the files that are trained on, whether or not something can be made of them. */
  readonly records: number;
  readonly train: number;
  readonly heldOut: number | undefined;
  /** The first of the rows that cannot be used, and how many there are. */
  readonly faults: readonly Fault[];
  readonly faultCount: number;
  readonly replacedSurrogates: number;
  readonly unusedColumns: readonly string[];
  /** Training rows that say what an earlier one says, and those that are held out, too. */
  readonly duplicates: number;
  readonly leaks: number;
  /** The first training rows. */
  readonly preview: readonly ShownRow[];
  /** Why the rows cannot be trained on as they are. */
  readonly refusal: Failure | undefined;
  /** Edits that can be taken back. */
  readonly edits: number;
}

/** The beginning of what a row teaches, and of what it is asked with. */
export interface ShownRow {
  readonly question?: string;
  readonly text: string;
}

/** A record as a table shows it. */
export interface RecordLine {
  readonly file: string;
  /** Its line or row in the file, counted from 1. */
  readonly line: number;
  /** The beginning of each column's value. */
  readonly cells: readonly string[];
  /** What it is used for; "faulty": nothing can be made of it. */
  readonly part: "train" | "heldOut" | "faulty";
}

/** A record whole, each value as a text: JSON where it is none. */
export type RecordValues = Readonly<Record<string, string>>;

export type DataEdit =
  | { readonly kind: "set"; readonly record: number; readonly values: RecordValues }
  | { readonly kind: "add"; readonly values: RecordValues }
  | { readonly kind: "remove"; readonly record: number }
  | { readonly kind: "remove-duplicates" }
  | { readonly kind: "remove-leaks" }
  | { readonly kind: "undo" };

const PREVIEW_ROWS = 3;
const SHOWN_CHARACTERS = 240;

/** Tables in the meaning that a run file gives them. */
interface Arranged {
  readonly key: string;
  /** Absent where they cannot be rows. */
  readonly dataset: Dataset | undefined;
  /** The row that was made of each record. */
  readonly rows: readonly (Row | undefined)[];
  readonly heldOut: ReadonlySet<Row>;
  readonly facts: DataFacts;
}

export class OpenData {
  private readKey: string | undefined;
  private tables: DataTables = { train: [], heldOut: [] };
  /** The training tables before each edit. */
  private readonly before: (readonly Table[])[] = [];
  private version = 0;
  private arranged: Arranged | undefined;
  private made = { meaning: "", rows: new WeakMap<RawRecord, Row>() };

  /** Reads files, unless they are those that it has. Throws where a file as a whole cannot be read. */
  async read(
    sources: DataSources,
    train: TrainConfig,
    options: Pick<ReadOptions, "signal" | "onProgress"> = {},
  ): Promise<void> {
    const key = `${sources.key} ${train.data_format}`;
    if (key === this.readKey) return;
    const tables = await readDataTables(sources.train, sources.heldOut, train, options);
    this.readKey = key;
    this.before.length = 0;
    this.change(tables);
  }

  /** What the rows are, in the meaning that a run file gives them. */
  facts(train: TrainConfig, faulty: "refuse" | "skip"): DataFacts {
    return this.arrange(train, faulty).facts;
  }

  /** The rows to train on. Throws what `facts` tells as the refusal. */
  dataset(train: TrainConfig, faulty: "refuse" | "skip"): Dataset {
    const { dataset, facts } = this.arrange(train, faulty);
    if (dataset && !facts.refusal) return dataset;
    const { code, message, remedy } = facts.refusal!;
    throw new DataError(code, message, remedy);
  }

  /** Throws DataError where a value is not what its column holds, or nothing is left to take back. */
  edit(edit: DataEdit): void {
    if (edit.kind === "undo") {
      const before = this.before.pop();
      if (before) this.change({ ...this.tables, train: before });
      return;
    }
    const edited = this.edited(edit);
    this.before.push(this.tables.train);
    this.change({ ...this.tables, train: edited });
  }

  /** Records one after the other. */
  lines(first: number, count: number): RecordLine[] {
    const { columns } = this;
    const lines: RecordLine[] = [];
    for (let record = first; record < Math.min(first + count, this.recordCount); record++) {
      const { table, place } = this.at(record);
      const { values, line } = table.records[place]!;
      const row = this.arranged?.rows[record];
      const part = !row ? "faulty" : this.arranged!.heldOut.has(row) ? "heldOut" : "train";
      lines.push({
        file: table.name,
        line,
        part,
        cells: columns.map((name) => clipped(cellOf(values[name]))),
      });
    }
    return lines;
  }

  values(record: number): RecordValues {
    const { table, place } = this.at(record);
    const { values } = table.records[place]!;
    return Object.fromEntries(this.columns.map((name) => [name, textOf(values[name])]));
  }

  /** What was made of a record; undefined where it is faulty. */
  row(record: number): Row | undefined {
    return this.arranged?.rows[record];
  }

  private get columns(): string[] {
    return [...new Set(this.tables.train.flatMap(({ columns }) => columns))];
  }

  private get recordCount(): number {
    return this.tables.train.reduce((sum, { records }) => sum + records.length, 0);
  }

  private change(tables: DataTables): void {
    this.tables = tables;
    this.arranged = undefined;
  }

  private at(record: number): { table: Table; place: number; index: number } {
    let place = record;
    for (const [index, table] of this.tables.train.entries()) {
      if (place < table.records.length) return { table, place, index };
      place -= table.records.length;
    }
    throw new DataError("no-such-row", `There is no row ${record + 1}.`);
  }

  private edited(edit: Exclude<DataEdit, { kind: "undo" }>): Table[] {
    switch (edit.kind) {
      case "set": {
        const { place, index, table } = this.at(edit.record);
        const changed = { ...table.records[place]!, values: this.parsed(edit.values) };
        return this.withRecords(index, table.records.with(place, changed));
      }
      case "add": {
        const index = this.tables.train.length - 1;
        const { records } = this.tables.train[index]!;
        const line = (records.at(-1)?.line ?? 0) + 1;
        return this.withRecords(index, [...records, { values: this.parsed(edit.values), line }]);
      }
      case "remove":
        return this.without([edit.record]);
      case "remove-duplicates":
        return this.without(this.recordsOf("duplicates"));
      case "remove-leaks":
        return this.without(this.recordsOf("leaks"));
      default:
        return edit satisfies never;
    }
  }

  private withRecords(index: number, records: readonly RawRecord[]): Table[] {
    return this.tables.train.map((table, i) => (i === index ? { ...table, records } : table));
  }

  private without(records: readonly number[]): Table[] {
    const out = new Set(records);
    let record = 0;
    return this.tables.train.map((table) => ({
      ...table,
      records: table.records.filter(() => !out.has(record++)),
    }));
  }

  private recordsOf(which: "duplicates" | "leaks"): number[] {
    const { dataset, rows } = this.arranged ?? {};
    if (!dataset || !rows) return [];
    const found = new Set(dataset[which].map((place) => dataset.train[place]!));
    return rows.flatMap((row, record) => (row && found.has(row) ? [record] : []));
  }

  /** Texts as the values of a record: JSON where the column holds something else. */
  private parsed(given: RecordValues): JsonObject {
    const values: [string, Json][] = [];
    for (const [column, text] of Object.entries(given)) {
      if (this.holdsTexts(column)) values.push([column, text]);
      else if (text.trim() !== "") values.push([column, parseJson(text, column)]);
    }
    return Object.fromEntries(values);
  }

  private holdsTexts(column: string): boolean {
    for (const { records } of this.tables.train) {
      const found = records.find(({ values }) => values[column] !== undefined && values[column] !== null);
      if (found) return typeof found.values[column] === "string";
    }
    return true;
  }

  private arrange(train: TrainConfig, faulty: "refuse" | "skip"): Arranged {
    const { column_mapping, dataset_text_field, eval_split, seed } = train;
    const key = JSON.stringify([column_mapping, dataset_text_field, eval_split, seed, faulty]);
    if (this.arranged?.key === key) return this.arranged;
    const { tables } = this;
    let dataset: Dataset | undefined;
    let refused: Failure | undefined;
    try {
      dataset = arrangeRows(tables, train, { faulty: "skip", made: this.madeIn(train) });
      const { faults, count } = faultsOf(dataset.parsed);
      if (faulty === "refuse" && count > 0) refused = failure(refusal(faults, count, false));
    } catch (thrown) {
      if (!(thrown instanceof GraftError)) throw thrown;
      refused = failure(thrown);
    }
    const rows: (Row | undefined)[] = new Array(this.recordCount).fill(undefined);
    const made = dataset?.parsed[0];
    made?.places.forEach((place, i) => {
      rows[place] = made.rows[i];
    });
    // With a share of the rows these are the same objects; those of a file are no records here.
    const heldOut = new Set(dataset?.heldOut);
    const first = tables.train[0];
    this.arranged = {
      ...{ key, dataset, rows, heldOut },
      facts: {
        version: ++this.version,
        files: tables.train.map(({ name, format }) => ({ name, format })),
        columns: this.columns,
        shape: column_mapping
          ? { kind: "mapping", mapping: column_mapping }
          : first && detectShape(first, dataset_text_field),
        guess: guessMapping(this.columns),
        records: rows.length,
        train: dataset?.train.length ?? 0,
        heldOut: dataset?.heldOut?.length,
        ...this.foundAmiss(dataset),
        preview: dataset?.train.slice(0, PREVIEW_ROWS).map(shownRow) ?? [],
        refusal: refused,
        edits: this.before.length,
      },
    };
    return this.arranged;
  }

  /** The rows that were made in this meaning: those whose records were not changed stay the same objects. */
  private madeIn({ column_mapping, dataset_text_field }: TrainConfig): WeakMap<RawRecord, Row> {
    const { train, heldOut } = this.tables;
    const shapes = [...train, ...heldOut].map((table) => detectShape(table, dataset_text_field));
    const meaning = JSON.stringify(column_mapping ?? shapes);
    if (this.made.meaning !== meaning) this.made = { meaning, rows: new WeakMap() };
    return this.made.rows;
  }

  private foundAmiss(
    dataset: Dataset | undefined,
  ): Pick<
    DataFacts,
    "faults" | "faultCount" | "replacedSurrogates" | "unusedColumns" | "duplicates" | "leaks"
  > {
    const read: readonly (Table | ParsedRows)[] = dataset?.parsed ?? [
      ...this.tables.train,
      ...this.tables.heldOut,
    ];
    const { faults, count } = faultsOf(read);
    return {
      faults,
      faultCount: count,
      replacedSurrogates: read.reduce((sum, { replacedSurrogates }) => sum + replacedSurrogates, 0),
      unusedColumns: dataset?.parsed[0]?.unusedColumns ?? [],
      duplicates: dataset?.duplicates.length ?? 0,
      leaks: dataset?.leaks.length ?? 0,
    };
  }
}

function faultsOf(read: readonly Pick<ParsedRows, "faults" | "faultCount">[]): {
  faults: Fault[];
  count: number;
} {
  return {
    faults: read.flatMap(({ faults }) => faults).slice(0, KEPT_FAULTS),
    count: read.reduce((sum, { faultCount }) => sum + faultCount, 0),
  };
}

function parseJson(text: string, column: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (thrown) {
    throw new ConfigError("row-json", `"${column}" is not JSON: ${(thrown as Error).message}.`, "Mend it.");
  }
}

function textOf(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** As a table shows it: a conversation by what is said in it, turn after turn. */
function cellOf(value: Json | undefined): string {
  const said = Array.isArray(value)
    ? value.map((turn) => (isJsonObject(turn) ? (turn.content ?? turn.value) : undefined))
    : [];
  const isConversation = said.length > 0 && said.every((text) => typeof text === "string");
  return isConversation ? said.join(" → ") : textOf(value);
}

function clipped(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

function shownRow(row: Row): ShownRow {
  if ("text" in row) return { text: clipped(row.text) };
  if ("prompt" in row) return { question: clipped(row.prompt), text: clipped(row.completion) };
  const said = (role: string) => row.messages.find((message) => message.role === role)?.content;
  const [question, text] = [said("user"), said("assistant") ?? ""];
  return { ...(question !== undefined && { question: clipped(question) }), text: clipped(text) };
}
