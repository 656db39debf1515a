import { describe, expect, it } from "vitest";
import { permutation } from "../../src/base/random.ts";
import { allocateInputs, capacity, cutToCapacity, distinctWindows, layOut } from "../../src/data/inputs.ts";
import { optimizerSteps, type StepPlan } from "../../src/data/steps.ts";
import type { TokenisedRow } from "../../src/data/tokenisedRow.ts";

const row = (...ids: number[]): TokenisedRow => ({ ids: Uint32Array.from(ids), line: 1 });
const pairs = (ranges: Uint32Array, tokens: number) =>
  Array.from({ length: tokens }, (_, i) => [...ranges.subarray(2 * i, 2 * i + 2)]);

describe("a micro-batch", () => {
  const inputs = layOut(
    [row(10, 11, 12, 13, 14), row(20, 21, 22)],
    allocateInputs({ tokens: 8, targets: 6 }, [undefined, 2]),
    5,
  );

  it("lays rows end to end, positions from 0 in each, without what predicts nothing", () => {
    expect(inputs.tokens).toBe(6);
    expect([...inputs.ids.subarray(0, 6)]).toEqual([10, 11, 12, 13, 20, 21]);
    expect([...inputs.positions.subarray(0, 6)]).toEqual([0, 1, 2, 3, 0, 1]);
    expect([...inputs.rowInStep.subarray(0, 6)]).toEqual([5, 5, 5, 5, 6, 6]);
  });

  it("predicts every token but each row's first", () => {
    expect(inputs.targets).toBe(6);
    expect([...inputs.targetRow.subarray(0, 6)]).toEqual([0, 1, 2, 3, 4, 5]);
    expect([...inputs.targetId.subarray(0, 6)]).toEqual([11, 12, 13, 14, 21, 22]);
    expect([...inputs.targetOfToken.subarray(0, 6)]).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("reads a row up to its last trained token, and nothing of one that has none", () => {
    const trained = (...marks: number[]) => ({
      ...row(...marks.map((_, i) => 10 + i)),
      trained: Uint8Array.from(marks),
    });
    const into = layOut(
      [trained(0, 0, 1, 0, 1, 0, 0), trained(0, 0), trained(0, 1)],
      allocateInputs({ tokens: 8, targets: 6 }, [undefined]),
    );
    expect([into.tokens, into.targets]).toEqual([5, 3]);
    expect([...into.ids.subarray(0, 5)]).toEqual([10, 11, 12, 13, 10]);
    expect([...into.rowInStep.subarray(0, 5)]).toEqual([0, 0, 0, 0, 2]);
    expect([...into.targetId.subarray(0, 3)]).toEqual([12, 14, 11]);
    expect([...into.targetOfToken.subarray(0, 5)]).toEqual([-1, 0, -1, 1, 2]);
  });

  it("sees the row's keys up to the query, or as many as the window holds", () => {
    const [full, windowed] = inputs.ranges;
    expect(pairs(full!.keyRange, 6)).toEqual([
      [0, 1],
      [0, 2],
      [0, 3],
      [0, 4],
      [4, 5],
      [4, 6],
    ]);
    expect(pairs(full!.queryRange, 6)).toEqual([
      [0, 4],
      [1, 4],
      [2, 4],
      [3, 4],
      [4, 6],
      [5, 6],
    ]);
    expect(pairs(windowed!.keyRange, 6)).toEqual([
      [0, 1],
      [0, 2],
      [1, 3],
      [2, 4],
      [4, 5],
      [4, 6],
    ]);
    expect(pairs(windowed!.queryRange, 6)).toEqual([
      [0, 2],
      [1, 3],
      [2, 4],
      [3, 4],
      [4, 6],
      [5, 6],
    ]);
  });

  it("mirrors keys and queries for any window, as Transformers' mask says", () => {
    const lengths = [1, 7, 4, 12];
    const rows = lengths.map((length) => row(...new Array<number>(length + 1).fill(1)));
    const windows = [undefined, 1, 3, 7, 100];
    const { ranges, positions, rowInStep, tokens } = layOut(
      rows,
      allocateInputs({ tokens: 24, targets: 24 }, windows),
    );
    for (const { window, keyRange, queryRange } of ranges) {
      for (let query = 0; query < tokens; query++) {
        for (let key = 0; key < tokens; key++) {
          const [i, j] = [positions[query]!, positions[key]!];
          const sees =
            rowInStep[query] === rowInStep[key] && j <= i && (window === undefined || j > i - window);
          expect(keyRange[2 * query]! <= key && key < keyRange[2 * query + 1]!).toBe(sees);
          expect(queryRange[2 * key]! <= query && query < queryRange[2 * key + 1]!).toBe(sees);
        }
      }
    }
  });

  it("writes into what is there, whatever stood in it", () => {
    const into = allocateInputs({ tokens: 6, targets: 4 }, [3]);
    const fresh = allocateInputs({ tokens: 6, targets: 4 }, [3]);
    for (const array of [
      into.ids,
      into.positions,
      into.rowInStep,
      into.targetRow,
      into.targetId,
      into.targetOfToken,
    ]) {
      array.fill(77);
    }
    const reused = layOut([row(1, 2, 3, 4)], layOut([row(9, 9, 9), row(8, 8)], into));
    expect(reused).toBe(into);
    layOut([row(1, 2, 3, 4)], fresh);
    expect([reused.tokens, reused.targets]).toEqual([3, 3]);
    for (const key of ["ids", "positions", "rowInStep", "targetOfToken"] as const) {
      expect(reused[key].subarray(0, 3)).toEqual(fresh[key].subarray(0, 3));
    }
    expect(reused.targetRow.subarray(0, 3)).toEqual(fresh.targetRow.subarray(0, 3));
  });

  it("that does not fit is refused", () => {
    expect(() => layOut([row(1, 2, 3, 4)], allocateInputs({ tokens: 2, targets: 9 }, []))).toThrow(
      /2 tokens/,
    );
    expect(() => layOut([row(1, 2, 3)], allocateInputs({ tokens: 9, targets: 1 }, []))).toThrow(/1 targets/);
  });

  it("needs each window once", () => {
    expect(distinctWindows([undefined, 4, undefined, 4, 6])).toEqual([undefined, 4, 6]);
  });
});

describe("a micro-batch that a plan does not hold", () => {
  it("is cut between rows, and stays whole where it fits", () => {
    // Four rows of which 2, 3, 1 and 4 tokens are read.
    const rows = [row(1, 2, 3), row(1, 2, 3, 4), row(1, 2), row(1, 2, 3, 4, 5)];
    const sizes = (tokens: number) =>
      cutToCapacity(rows, { tokens, targets: tokens }).map(({ length }) => length);
    expect(sizes(10)).toEqual([4]);
    expect(sizes(6)).toEqual([3, 1]);
    expect(sizes(5)).toEqual([2, 2]);
    expect(sizes(4)).toEqual([1, 2, 1]);
    expect(cutToCapacity(rows, { tokens: 4, targets: 4 }).flat()).toEqual(rows);
  });
});

describe("capacity", () => {
  const alone = (rows: readonly TokenisedRow[]) => rows.map((entry) => [entry]);
  const rows = [...permutation(60, 9, 9)].map((length) => row(...new Array<number>(length + 2).fill(1)));
  const plan: StepPlan = {
    max_steps: -1,
    num_train_epochs: 3,
    per_device_train_batch_size: 4,
    gradient_accumulation_steps: 2,
    shuffle: true,
    seed: 4,
  };
  const largest = (of: readonly TokenisedRow[], how: StepPlan) => {
    const inputs = allocateInputs({ tokens: 3000, targets: 3000 }, []);
    const batches = [...optimizerSteps(of, how)].flatMap((step) => step.microBatches);
    const sizes = batches.map((batch) => ({ ...layOut(batch, inputs) }));
    return {
      tokens: Math.max(...sizes.map((size) => size.tokens)),
      targets: Math.max(...sizes.map((size) => size.targets)),
    };
  };

  it.each([
    ["shuffled epochs", plan],
    ["file order", { ...plan, shuffle: false }],
    ["part of an epoch", { ...plan, shuffle: false, max_steps: 2 }],
    ["a batch of all rows", { ...plan, per_device_train_batch_size: 100 }],
    ["one row at a time", { ...plan, per_device_train_batch_size: 1 }],
  ])("is what the largest micro-batch holds: %s", (_, how) => {
    expect(capacity(alone(rows), how)).toEqual(largest(rows, how));
  });

  it("counts tokens and targets by themselves", () => {
    // Four rows of questions hold the most tokens, a long text the most targets.
    const question = { ...row(1, 1, 1, 1), trained: Uint8Array.of(0, 0, 0, 1) };
    const mixed = [question, question, question, question, row(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)];
    const how = { ...plan, shuffle: false, num_train_epochs: 1 };
    expect(capacity(alone(mixed), how)).toEqual({ tokens: 12, targets: 10 });
  });

  it("takes a pack of rows for what its rows hold together", () => {
    const packs = [[row(1, 1, 1), row(1, 1)], [row(1, 1, 1, 1)]];
    const how = { ...plan, per_device_train_batch_size: 1 };
    expect(capacity(packs, how)).toEqual({ tokens: 3, targets: 3 });
  });

  it("is bounded by the longest rows where a run is too long to walk", () => {
    const sorted = rows.map((entry) => entry.ids.length - 1).sort((a, b) => b - a);
    const bound = sorted.slice(0, 4).reduce((sum, length) => sum + length, 0);
    expect(capacity(alone(rows), { ...plan, max_steps: 1_000_000 })).toEqual({
      tokens: bound,
      targets: bound,
    });
    const inOrder = { ...plan, shuffle: false, max_steps: 1_000_000 };
    expect(capacity(alone(rows), inOrder)).toEqual(largest(rows, { ...inOrder, max_steps: 20 }));
  });
});
