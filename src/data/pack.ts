/** Rows that share a micro-batch where `packing` is on. */
import type { TokenisedRow } from "./tokenisedRow.ts";

/**
 * Best-fit decreasing: the longest rows first, each into the pack whose room it fills best. A pack holds at most
 * `room` tokens, which is at least the longest row. Rows of one pack, and packs by their first row, stand in the order they came in.
 */
export function packRows(rows: readonly TokenisedRow[], room: number): TokenisedRow[][] {
  const byLength = rows.map((_, i) => i).sort((a, b) => rows[b]!.ids.length - rows[a]!.ids.length || a - b);
  /** Open packs by the room they have left. */
  const open: number[][][] = Array.from({ length: room + 1 }, () => []);
  const packs: number[][] = [];
  for (const row of byLength) {
    const { length } = rows[row]!.ids;
    let left = length;
    while (left <= room && open[left]!.length === 0) left++;
    let pack = open[left]?.pop();
    if (!pack) {
      pack = [];
      packs.push(pack);
      left = room;
    }
    pack.push(row);
    open[left - length]!.push(pack);
  }
  for (const pack of packs) pack.sort((a, b) => a - b);
  packs.sort((a, b) => a[0]! - b[0]!);
  return packs.map((pack) => pack.map((row) => rows[row]!));
}
