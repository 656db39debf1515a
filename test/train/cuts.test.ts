import { describe, expect, it } from "vitest";
import { Cuts } from "../../src/train/cuts.ts";

describe("the pieces of a long list", () => {
  it("is one piece until it has run past its budget twice in a row", () => {
    const cuts = new Cuts(9, 100);
    for (const ms of [101, 100, 101]) cuts.measured(0, 9, ms);
    expect(cuts.pieces()).toEqual([[0, 9]]);
    cuts.measured(0, 9, 101);
    expect(cuts.pieces()).toEqual([
      [0, 4],
      [4, 9],
    ]);
  });

  it("halves each piece by itself, down to one dispatch and no further", () => {
    const cuts = new Cuts(4, 100);
    for (let round = 0; round < 8; round++) {
      // Only the third dispatch takes long.
      for (const [from, to] of cuts.pieces()) cuts.measured(from, to, from <= 2 && to > 2 ? 500 : 1);
    }
    expect(cuts.pieces()).toEqual([
      [0, 2],
      [2, 3],
      [3, 4],
    ]);
  });

  it("leaves aside what is said of a piece that has been halved since", () => {
    const cuts = new Cuts(8, 100);
    for (let i = 0; i < 6; i++) cuts.measured(0, 8, 1000);
    expect(cuts.pieces()).toEqual([
      [0, 4],
      [4, 8],
    ]);
  });
});
