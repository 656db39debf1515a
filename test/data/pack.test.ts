import { describe, expect, it } from "vitest";
import { permutation } from "../../src/base/random.ts";
import { packRows } from "../../src/data/pack.ts";
import type { TokenisedRow } from "../../src/data/tokenisedRow.ts";

const rowsOf = (lengths: readonly number[]): TokenisedRow[] =>
  lengths.map((length, i) => ({ ids: new Uint32Array(length), line: i + 1 }));
const lengthsOf = (packs: readonly (readonly TokenisedRow[])[]): number[][] =>
  packs.map((pack) => pack.map(({ ids }) => ids.length));

describe("packing", () => {
  it("takes the longest rows first and fills each gap with what fits it best", () => {
    expect(lengthsOf(packRows(rowsOf([2, 7, 3, 5, 3]), 10))).toEqual([
      [2, 5, 3],
      [7, 3],
    ]);
  });

  it("gives a row that fills the room a pack of its own", () => {
    expect(lengthsOf(packRows(rowsOf([4, 4, 2, 2]), 4))).toEqual([[4], [4], [2, 2]]);
  });

  it("keeps every row once, and no pack over its room", () => {
    const rows = rowsOf([...permutation(200, 3, 7)].map((value) => 2 + (value % 60)));
    const packs = packRows(rows, 64);
    expect(packs.flat().toSorted((a, b) => a.line - b.line)).toEqual(rows);
    const sizes = packs.map((pack) => pack.reduce((sum, { ids }) => sum + ids.length, 0));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(64);
    // Two packs that would fit into one were not packed best.
    const [least, next] = sizes.toSorted((a, b) => a - b);
    expect(least! + next!).toBeGreaterThan(64);
  });
});
