/** A held-out part, and rows that occur twice. */
import { DataError } from "../base/errors.ts";
import { isJsonObject, type Json } from "../base/json.ts";
import { permutation } from "../base/random.ts";
import type { Row } from "./rows.ts";

/** Keeps what is held out apart from everything else that the same seed draws. */
const SPLIT_STREAM = 0x73706c74;

export interface SplitRows {
  readonly train: readonly Row[];
  readonly heldOut: readonly Row[];
}

/**
 * Rows that the seed chooses are held out: a share of them, rounded up, or so many. Both parts keep the order of the
 * file. Throws DataError where one of them would be empty.
 */
export function splitRows(
  rows: readonly Row[],
  { seed, ...size }: { readonly seed: number } & ({ readonly share: number } | { readonly count: number }),
): SplitRows {
  const count = "share" in size ? Math.ceil(size.share * rows.length) : size.count;
  if (!(count >= 1 && count < rows.length)) {
    throw new DataError(
      "split",
      `Of ${rows.length} rows ${count} cannot be held out: both parts need one.`,
      "Hold out fewer, or give more rows.",
    );
  }
  const held = new Set(permutation(rows.length, seed, SPLIT_STREAM).subarray(0, count));
  return {
    train: rows.filter((_, i) => !held.has(i)),
    heldOut: rows.filter((_, i) => held.has(i)),
  };
}

/** Places, counted from 0, of the rows that say what an earlier one says. */
export function findDuplicates(rows: readonly Row[]): number[] {
  const seen = new Set<string>();
  return placesWhere(rows, (row) => {
    const content = contentOf(row);
    if (seen.has(content)) return true;
    seen.add(content);
    return false;
  });
}

/** Places, counted from 0, of the training rows that are held out, too. */
export function findLeaks(train: readonly Row[], heldOut: readonly Row[]): number[] {
  const held = new Set(heldOut.map(contentOf));
  return placesWhere(train, (row) => held.has(contentOf(row)));
}

function placesWhere(rows: readonly Row[], isFound: (row: Row) => boolean): number[] {
  return rows.flatMap((row, i) => (isFound(row) ? [i] : []));
}

/** What a row says, without where it stands: equal for rows that are trained alike. */
function contentOf({ line: _, ...row }: Row): string {
  return JSON.stringify(sorted(row as unknown as Json));
}

/** The order of an object's keys means nothing. */
function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key]!)]),
  );
}
