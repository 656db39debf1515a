/**
 * Rows that are looked at and edited before they are trained on. Files are read once; what their columns mean, and what
 * is held out, is decided anew as often as it is asked.
 */
import type { ByteSource } from "../base/bytes.ts";
import { DataError, type Failure, failure, GraftError } from "../base/errors.ts";
import { type Fault, KEPT_FAULTS, refusal } from "../data/faults.ts";
import type { DataFormat, RawRecord } from "../data/formats/reading.ts";
import { type ColumnMapping, guessMapping } from "../data/mapping.ts";
import type { ParsedRows, Row } from "../data/rows.ts";
import { detectShape, type RowShape } from "../data/shapes.ts";
import type { ReadOptions, Table } from "../data/table.ts";
import { arrangeRows, type Dataset, type DataTables, readDataTables } from "./dataset.ts";
import { editTables, placeOf, type RecordEdit, type RecordValues, withoutRecords } from "./editTables.ts";
import type { TrainConfig } from "./fields.ts";
import { cellOf, type ShownRow, shownRow, textOf } from "./rowTexts.ts";

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

export type DataEdit =
  | RecordEdit
  | { readonly kind: "remove-duplicates" }
  | { readonly kind: "remove-leaks" }
  | { readonly kind: "undo" };

const PREVIEW_ROWS = 3;

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

  /** Throws what `editTables` throws. */
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
      const { table, place } = placeOf(this.tables.train, record);
      const { values, line } = table.records[place]!;
      const row = this.arranged?.rows[record];
      const part = !row ? "faulty" : this.arranged!.heldOut.has(row) ? "heldOut" : "train";
      lines.push({
        file: table.name,
        line,
        part,
        cells: columns.map((name) => cellOf(values[name])),
      });
    }
    return lines;
  }

  values(record: number): RecordValues {
    const { table, place } = placeOf(this.tables.train, record);
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

  /** The training tables after an edit. */
  private edited(edit: Exclude<DataEdit, { kind: "undo" }>): Table[] {
    const { train } = this.tables;
    switch (edit.kind) {
      case "remove-duplicates":
        return withoutRecords(train, this.recordsOf("duplicates"));
      case "remove-leaks":
        return withoutRecords(train, this.recordsOf("leaks"));
      default:
        return editTables(train, edit);
    }
  }

  private recordsOf(which: "duplicates" | "leaks"): number[] {
    const { dataset, rows } = this.arranged ?? {};
    if (!dataset || !rows) return [];
    const found = new Set(dataset[which].map((place) => dataset.train[place]!));
    return rows.flatMap((row, record) => (row && found.has(row) ? [record] : []));
  }

  private arrange(train: TrainConfig, faulty: "refuse" | "skip"): Arranged {
    const { column_mapping, dataset_text_field, eval_split, seed } = train;
    const key = JSON.stringify([column_mapping, dataset_text_field, eval_split, seed, faulty]);
    if (this.arranged?.key === key) return this.arranged;
    const { dataset, refusal } = this.tryArranging(train, faulty);
    const rows: (Row | undefined)[] = new Array(this.recordCount).fill(undefined);
    const made = dataset?.parsed[0];
    made?.places.forEach((place, i) => {
      rows[place] = made.rows[i];
    });
    // With a share of the rows these are the same objects; those of a file are no records here.
    const heldOut = new Set(dataset?.heldOut);
    this.arranged = { key, dataset, rows, heldOut, facts: this.factsOf(dataset, refusal, train) };
    return this.arranged;
  }

  /** The rows, as far as there are any, and why they cannot be trained on. */
  private tryArranging(
    train: TrainConfig,
    faulty: "refuse" | "skip",
  ): { dataset?: Dataset; refusal?: Failure } {
    try {
      const dataset = arrangeRows(this.tables, train, { faulty: "skip", made: this.madeIn(train) });
      const { faults, count } = faultsOf(dataset.parsed);
      const isRefused = faulty === "refuse" && count > 0;
      return { dataset, ...(isRefused && { refusal: failure(refusal(faults, count, false)) }) };
    } catch (thrown) {
      if (!(thrown instanceof GraftError)) throw thrown;
      return { refusal: failure(thrown) };
    }
  }

  private factsOf(
    dataset: Dataset | undefined,
    refused: Failure | undefined,
    { column_mapping, dataset_text_field }: TrainConfig,
  ): DataFacts {
    const { train: tables } = this.tables;
    const first = tables[0];
    return {
      version: ++this.version,
      files: tables.map(({ name, format }) => ({ name, format })),
      columns: this.columns,
      shape: column_mapping
        ? { kind: "mapping", mapping: column_mapping }
        : first && detectShape(first, dataset_text_field),
      guess: guessMapping(this.columns),
      records: this.recordCount,
      train: dataset?.train.length ?? 0,
      heldOut: dataset?.heldOut?.length,
      ...this.foundAmiss(dataset),
      preview: dataset?.train.slice(0, PREVIEW_ROWS).map(shownRow) ?? [],
      refusal: refused,
      edits: this.before.length,
    };
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
