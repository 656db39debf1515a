/** What a cut at max_length costs, from lengths and learnt spans alone: cheap enough to ask while a line is dragged. */

export const TRUNCATION_MODES = ["keep_start", "keep_end"] as const;
/** Which end of a row that is too long stays; TRL's truncation_mode. */
export type TruncationMode = (typeof TRUNCATION_MODES)[number];

/** Rows before they are cut, one entry each. */
export interface RowLengths {
  /** In tokens. */
  readonly length: Uint32Array;
  /** The first learnt token, and the one after the last: equal where none is. A text is learnt from 1 to its end. */
  readonly firstLearnt: Uint32Array;
  readonly endLearnt: Uint32Array;
}

export interface CutCost {
  readonly cut: number;
  /** Of these, how many lose a part of what they teach, and how many all of it. */
  readonly losePart: number;
  readonly loseAll: number;
}

export function costOfCut(rows: RowLengths, maxLength: number, mode: TruncationMode): CutCost {
  const cost = { cut: 0, losePart: 0, loseAll: 0 };
  rows.length.forEach((length, i) => {
    if (length <= maxLength) return;
    cost.cut++;
    const [first, end] = [rows.firstLearnt[i]!, rows.endLearnt[i]!];
    if (first === end) return;
    const [from, to] = mode === "keep_start" ? [0, maxLength] : [length - maxLength, length];
    // The first token that stays has nothing before it to be foretold from.
    if (end <= from + 1 || first >= to) cost.loseAll++;
    else if (first <= from || end > to) cost.losePart++;
  });
  return cost;
}

export function keptPart<T extends { slice(start: number, end: number): T; readonly length: number }>(
  row: T,
  maxLength: number,
  mode: TruncationMode,
): T {
  return mode === "keep_start"
    ? row.slice(0, maxLength)
    : row.slice(Math.max(0, row.length - maxLength), row.length);
}
