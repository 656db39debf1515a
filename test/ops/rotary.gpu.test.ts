import { add } from "../../src/ops/add.ts";
import { rotary } from "../../src/ops/rotary.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { backward, forward } from "../reference/rotary.ts";

interface Case {
  readonly rows: number;
  readonly width: number;
  readonly heads: number;
  readonly headDim: number;
  readonly branch?: boolean;
}

// Widths beyond heads · headDim: columns that must not be touched. 64 pairs make a workgroup.
const cases: readonly Case[] = [
  { rows: 1, width: 2, heads: 1, headDim: 2 },
  { rows: 3, width: 23, heads: 3, headDim: 6 },
  { rows: 7, width: 24, heads: 3, headDim: 8, branch: true },
  { rows: 17, width: 257, heads: 2, headDim: 64 },
  { rows: 5, width: 300, heads: 2, headDim: 128, branch: true },
];

async function check(bench: KernelBench, { rows, branch, ...shape }: Case): Promise<void> {
  const { width, heads, headDim } = shape;
  const maxPositions = rows + 9;
  const x = bench.normal(rows * width);
  const dy = bench.normal(rows * width);
  // No rotation on purpose: yarn scales the tables, so the backward is the transpose and not the inverse.
  const cos = bench.normal((maxPositions * headDim) / 2);
  const sin = bench.normal((maxPositions * headDim) / 2);
  const positions = bench.integers(rows, maxPositions);
  positions[0] = maxPositions - 1;
  const table = { shape: [maxPositions, headDim / 2] };
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: {
      x: { shape: ["tokens", width], values: x, grad: true },
      positions: { shape: ["tokens"], values: positions },
    },
    constants: { cos: { ...table, values: cos }, sin: { ...table, values: sin } },
    trace: (graph, values) => {
      // The doubled x dies with the rotation, which then works on it in place, unless a branch reads it too.
      const doubled = add(graph, values.x!, values.x!);
      const y = rotary(graph, doubled, { heads, headDim }, values.positions!, values.cos!, values.sin!);
      return branch ? { sum: add(graph, doubled, y) } : { y };
    },
    seeds: branch ? { sum: dy } : { y: dy },
  });
  const doubled = x.map((value) => 2 * value);
  const y = forward(doubled, shape, positions, cos, sin);
  const dx = backward(dy, shape, positions, cos, sin);
  if (branch) {
    bench.compare(
      "sum",
      result.output("sum"),
      y.map((value, i) => value + doubled[i]!),
    );
    bench.compare(
      "dx",
      result.gradient("x"),
      dx.map((value, i) => 2 * (value + dy[i]!)),
    );
  } else {
    bench.compare("y", result.output("y"), y);
    bench.compare(
      "dx",
      result.gradient("x"),
      dx.map((value) => 2 * value),
    );
  }
}

export const suite = await kernelSuite(
  "rotary",
  cases.map((test) => ({
    name: `[${test.rows}, ${test.width}], ${test.heads} heads of ${test.headDim}${test.branch ? ", x read again" : ""}`,
    passes: ["forward", "backward"],
    run: (bench: KernelBench) => check(bench, test),
  })),
);
