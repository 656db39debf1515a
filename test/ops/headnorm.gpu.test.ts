import { add } from "../../src/ops/add.ts";
import { headNorm } from "../../src/ops/headnorm.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite, onBothClasses } from "../harness/cases.ts";
import { backward, forward } from "../reference/headnorm.ts";

interface Case {
  readonly rows: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly eps: number;
  readonly branch?: boolean;
  readonly trains?: "q" | "k";
}

// A head is summed by 64 lanes, a gain's gradient by 32 lanes in eights: 100, 9 and 11 · 3 heads leave tails.
const cases: readonly Case[] = [
  { rows: 1, heads: 1, keyValueHeads: 1, headDim: 2, eps: 0.3 },
  { rows: 11, heads: 3, keyValueHeads: 1, headDim: 9, eps: 0.3, branch: true },
  { rows: 3, heads: 4, keyValueHeads: 2, headDim: 100, eps: 1e-6, trains: "q" },
  { rows: 5, heads: 2, keyValueHeads: 2, headDim: 64, eps: 0.3, branch: true, trains: "k" },
  { rows: 2, heads: 6, keyValueHeads: 3, headDim: 128, eps: 1e-6 },
];

async function check(bench: KernelBench, { rows, eps, branch, trains, ...shape }: Case): Promise<void> {
  const { heads, keyValueHeads, headDim } = shape;
  const width = (heads + 2 * keyValueHeads) * headDim;
  const x = bench.normal(rows * width);
  const gainQ = bench.normal(headDim);
  const gainK = bench.normal(headDim);
  const dy = bench.normal(rows * width);
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { x: { shape: ["tokens", width], values: x, grad: true } },
    parameters: {
      gainQ: { shape: [headDim], values: gainQ, grad: trains !== "k" },
      gainK: { shape: [headDim], values: gainK, grad: trains !== "q" },
    },
    trace: (graph, values) => {
      const y = headNorm(graph, values.x!, values.gainQ!, values.gainK!, { ...shape, eps });
      // A second reader of x, so that dx is added to what the other has contributed.
      return branch ? { y, sum: add(graph, values.x!, y) } : { y };
    },
    seeds: branch ? { sum: dy } : { y: dy },
  });
  const expected = backward(x, gainQ, gainK, shape, eps, dy);
  bench.compare("y", result.output("y"), forward(x, gainQ, gainK, shape, eps));
  bench.compare(
    "dx",
    result.gradient("x"),
    branch ? expected.dx.map((value, i) => value + dy[i]!) : expected.dx,
  );
  for (const [name, frozenBy, dgain] of [
    ["gainQ", "k", expected.dgainQ],
    ["gainK", "q", expected.dgainK],
  ] as const) {
    const change = result.gradient(name);
    if (trains !== frozenBy) bench.compare(`d ${name}`, change, dgain);
    else if (change.some((value) => value !== 0))
      throw new Error(`${name} is frozen, but its gradient changed`);
  }
}

export const suite = await kernelSuite(
  "headnorm",
  onBothClasses(
    cases.map((test) => ({
      name: Object.entries(test)
        .map(([key, value]) => `${key} ${value}`)
        .join(", "),
      passes: ["forward", "backward_input", "backward_gain"],
      run: (bench: KernelBench) => check(bench, test),
    })),
  ),
);
