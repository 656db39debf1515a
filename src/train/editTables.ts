/** Edits of the tables that rows are made of. Tables are never changed: an edit gives others. */
import { ConfigError, DataError } from "../base/errors.ts";
import type { Json, JsonObject } from "../base/json.ts";
import type { RawRecord } from "../data/formats/reading.ts";
import type { Table } from "../data/table.ts";

/** A record whole, each value as a text: JSON where it is none. */
export type RecordValues = Readonly<Record<string, string>>;

/** Records are counted from 0, over all tables. */
export type RecordEdit =
  | { readonly kind: "set"; readonly record: number; readonly values: RecordValues }
  | { readonly kind: "add"; readonly values: RecordValues }
  | { readonly kind: "remove"; readonly record: number };

/** Where a record stands: its table, that one's place among the tables, and its own place there. */
interface RecordPlace {
  readonly table: Table;
  readonly index: number;
  readonly place: number;
}

/** Throws DataError where there is no such record. */
export function placeOf(tables: readonly Table[], record: number): RecordPlace {
  let place = record;
  for (const [index, table] of tables.entries()) {
    if (place < table.records.length) return { table, index, place };
    place -= table.records.length;
  }
  throw new DataError("no-such-row", `There is no row ${record + 1}.`);
}

/** Throws DataError where there is no such record, ConfigError where a value is not what its column holds. */
export function editTables(tables: readonly Table[], edit: RecordEdit): Table[] {
  switch (edit.kind) {
    case "set": {
      const { table, index, place } = placeOf(tables, edit.record);
      const changed = { ...table.records[place]!, values: parsed(tables, edit.values) };
      return withRecords(tables, index, table.records.with(place, changed));
    }
    case "add": {
      const index = tables.length - 1;
      const { records } = tables[index]!;
      const line = (records.at(-1)?.line ?? 0) + 1;
      return withRecords(tables, index, [...records, { values: parsed(tables, edit.values), line }]);
    }
    case "remove":
      return withoutRecords(tables, [edit.record]);
    default:
      return edit satisfies never;
  }
}

function withRecords(tables: readonly Table[], index: number, records: readonly RawRecord[]): Table[] {
  return tables.map((table, i) => (i === index ? { ...table, records } : table));
}

export function withoutRecords(tables: readonly Table[], records: readonly number[]): Table[] {
  const removed = new Set(records);
  let record = 0;
  return tables.map((table) => ({
    ...table,
    records: table.records.filter(() => !removed.has(record++)),
  }));
}

/** Texts as the values of a record: JSON where the column holds something else. */
function parsed(tables: readonly Table[], given: RecordValues): JsonObject {
  const values: [string, Json][] = [];
  for (const [column, text] of Object.entries(given)) {
    if (holdsTexts(tables, column)) values.push([column, text]);
    else if (text.trim() !== "") values.push([column, parseJson(text, column)]);
  }
  return Object.fromEntries(values);
}

function holdsTexts(tables: readonly Table[], column: string): boolean {
  for (const { records } of tables) {
    const found = records.find(({ values }) => values[column] !== undefined && values[column] !== null);
    if (found) return typeof found.values[column] === "string";
  }
  return true;
}

function parseJson(text: string, column: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (thrown) {
    throw new ConfigError("row-json", `"${column}" is not JSON: ${(thrown as Error).message}.`, "Mend it.");
  }
}
