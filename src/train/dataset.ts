/** The rows of a run, as its run file says they are to be read: the page and the command read the same. */
import type { ByteSource } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import type { ParsedRows, Row } from "../data/rows.ts";
import { rowsOf, type ShapeOptions } from "../data/shapes.ts";
import { findDuplicates, findLeaks, splitRows } from "../data/split.ts";
import { type ReadOptions, readTables, type Table } from "../data/table.ts";
import type { TrainConfig } from "./fields.ts";

export interface Dataset {
  readonly train: readonly Row[];
  readonly heldOut: readonly Row[] | undefined;
  /** What reading found: of the files that are trained on, and of those that are held out. */
  readonly parsed: readonly ParsedRows[];
  /** Places of the training rows that say what an earlier one says. */
  readonly duplicates: readonly number[];
  /** Places of the training rows that are held out, too. */
  readonly leaks: readonly number[];
}

/** Files as tables: those that are trained on, and those that are held out, where there are any. */
export interface DataTables {
  readonly train: readonly Table[];
  readonly heldOut: readonly Table[];
}

type Arranging = Pick<ShapeOptions, "faulty" | "made">;

/** How a run file wants files read. */
function formatOf({ data_format: format }: TrainConfig): ReadOptions["format"] {
  return format === "auto" ? undefined : format;
}

/** Reads what is trained on and what is held out: files of their own, or a share that `eval_split` names. */
export async function readDataset(
  sources: readonly ByteSource[],
  heldOutSources: readonly ByteSource[],
  train: TrainConfig,
  { faulty, ...options }: Pick<ReadOptions, "signal" | "onProgress"> & Pick<ShapeOptions, "faulty"> = {},
): Promise<Dataset> {
  return arrangeRows(await readDataTables(sources, heldOutSources, train, options), train, { faulty });
}

/** Reads files whose format the run file names, or that tell it themselves. */
export async function readDataTables(
  sources: readonly ByteSource[],
  heldOutSources: readonly ByteSource[],
  train: TrainConfig,
  options: Pick<ReadOptions, "signal" | "onProgress"> = {},
): Promise<DataTables> {
  const reading = { ...options, format: formatOf(train) };
  return {
    train: await readTables(sources, reading),
    heldOut: await readTables(heldOutSources, reading),
  };
}

/** Tables as rows, in the parts that the run file wants. Throws what makes them unfit for it. */
export function arrangeRows(tables: DataTables, train: TrainConfig, options: Arranging = {}): Dataset {
  const { eval_split: share, seed, column_mapping: mapping, dataset_text_field: textColumn } = train;
  if (share !== null && tables.heldOut.length > 0) {
    throw new ConfigError(
      "held-out-twice",
      `train.eval_split is ${share}, and a file of held-out rows is given, too.`,
      "Leave one of them out.",
    );
  }
  const shape = mapping ? ({ kind: "mapping", mapping } as const) : undefined;
  const meaning: ShapeOptions = { ...options, shape, textColumn };
  const parsed = [rowsOf(tables.train, meaning)];
  if (tables.heldOut.length > 0) parsed.push(rowsOf(tables.heldOut, meaning));
  const { rows } = parsed[0]!;
  const parts = share === null ? { train: rows, heldOut: parsed[1]?.rows } : splitRows(rows, { share, seed });
  return {
    ...parts,
    parsed,
    duplicates: findDuplicates(parts.train),
    leaks: parts.heldOut ? findLeaks(parts.train, parts.heldOut) : [],
  };
}
