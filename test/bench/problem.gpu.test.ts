/** That the bench measures the right step: were its problem or its settings off, the times would mean nothing. */
import { describe, expect, it } from "vitest";
import { prepare, stepper } from "../../bench/contenders/graft.ts";
import { benchSize, makeProblem, type ProblemSize } from "../../bench/problem.ts";
import { testDevice } from "../harness/device.ts";

const on = testDevice({});

/** The bench itself checks the losses of its own size; this one takes a tenth of a second a step. */
const small: ProblemSize = {
  width: 64,
  layers: 2,
  heads: 2,
  inner: 96,
  vocabulary: 128,
  length: 16,
  rows: 2,
  rank: 8,
};
/** As jax-js 0.1.25 has them. */
const smallLosses = [4.93611, 4.877162, 4.820296, 4.764585];

describe("the bench's step", () => {
  it("has the losses that jax-js has in a model of another size", async () => {
    const { trainer, destroy } = await prepare(makeProblem(small), on.device, {});
    const step = stepper(trainer);
    for (const loss of smallLosses) expect(Math.abs((await step()) - loss)).toBeLessThan(1e-5);
    destroy();
  });

  it("is made of the same numbers each time, and of different ones in each matrix", () => {
    const problem = makeProblem(small);
    expect(makeProblem(small)).toEqual(problem);
    const matrices = problem.layers.flatMap((layer) =>
      Object.values(layer).flatMap(({ weight, a, b }) => [weight, a, b]),
    );
    expect(new Set(matrices.map(({ values }) => values[0])).size).toBe(matrices.length);
  });

  it("has the sizes by which its losses are known", () => {
    const { embedding, layers, rows } = makeProblem();
    expect(embedding.shape).toEqual([2048, 256]);
    expect(layers).toHaveLength(4);
    expect(layers[3]!.down).toMatchObject({
      weight: { shape: [256, 704] },
      a: { shape: [8, 704] },
      b: { shape: [256, 8] },
    });
    expect(rows.map(({ length }) => length)).toEqual([129, 129, 129, 129]);
    expect(rows.every((row) => row.every((id) => id < benchSize.vocabulary))).toBe(true);
  });
});
