/** The rows of a run, as its run file says they are to be read: the page and the command read the same. */
import type { ByteSource } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import { type ParsedRows, parseRows, type Row } from "../data/rows.ts";
import type { ShapeOptions } from "../data/shapes.ts";
import { findDuplicates, findLeaks, splitRows } from "../data/split.ts";
import type { ReadOptions } from "../data/table.ts";
import type { TrainConfig } from "./fields.ts";

export interface Dataset {
  readonly train: readonly Row[];
  readonly heldOut: readonly Row[] | undefined;
  /** What reading found: of the files that are trained on, and of those that are held out. */
  readonly parsed: readonly ParsedRows[];
  /** Training rows that say what an earlier one says. */
  readonly duplicates: number;
  /** Training rows that are held out, too. */
  readonly leaks: number;
}

type DatasetOptions = Pick<ReadOptions, "signal" | "onProgress"> & Pick<ShapeOptions, "faulty">;

/** How a run file wants rows read. */
export function readingOf(train: TrainConfig): ReadOptions & ShapeOptions {
  const { data_format: format, column_mapping: mapping, dataset_text_field: textColumn } = train;
  return {
    format: format === "auto" ? undefined : format,
    shape: mapping ? { kind: "mapping", mapping } : undefined,
    textColumn,
  };
}

/** Reads what is trained on and what is held out: files of their own, or a share that `eval_split` names. */
export async function readDataset(
  sources: readonly ByteSource[],
  heldOutSources: readonly ByteSource[],
  train: TrainConfig,
  options: DatasetOptions = {},
): Promise<Dataset> {
  const { eval_split: share, seed } = train;
  if (share !== null && heldOutSources.length > 0) {
    throw new ConfigError(
      "held-out-twice",
      `train.eval_split is ${share}, and a file of held-out rows is given, too.`,
      "Leave one of them out.",
    );
  }
  const reading = { ...readingOf(train), ...options };
  const parsed = [await parseRows(sources, reading)];
  if (heldOutSources.length > 0) parsed.push(await parseRows(heldOutSources, reading));
  const { rows } = parsed[0]!;
  const parts = share === null ? { train: rows, heldOut: parsed[1]?.rows } : splitRows(rows, { share, seed });
  return {
    ...parts,
    parsed,
    duplicates: findDuplicates(parts.train).length,
    leaks: parts.heldOut ? findLeaks(parts.train, parts.heldOut).length : 0,
  };
}
