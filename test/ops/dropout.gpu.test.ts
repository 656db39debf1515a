import { philox } from "../../src/base/random.ts";
import { add } from "../../src/ops/add.ts";
import { dropout } from "../../src/ops/dropout.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { backward, type DropoutDraw, forward } from "../reference/dropout.ts";

interface Case {
  readonly rows: number;
  readonly width: number;
  readonly p: number;
  readonly branch?: boolean;
}

// Four features share a draw: 1, 37 and 130 leave a part of one. [8, 64] fills two workgroups to the last lane.
const cases: readonly Case[] = [
  { rows: 5, width: 1, p: 0.01 },
  { rows: 1, width: 3, p: 0.01 },
  { rows: 3, width: 37, p: 0.5 },
  { rows: 8, width: 64, p: 0.9, branch: true },
  { rows: 6, width: 130, p: 0.05 },
  // So many words that a bit carried wrongly, one time in 2¹⁷, shows.
  { rows: 300, width: 300, p: 0.5 },
];

function drawOf(bench: KernelBench, rows: number, p: number): DropoutDraw {
  const [seed, step, module] = bench.integers(3, 2 ** 32) as unknown as [number, number, number];
  return {
    p,
    seed,
    step,
    module,
    rowInStep: bench.integers(rows, 1000),
    positions: bench.integers(rows, 1e5),
  };
}

async function run(
  bench: KernelBench,
  draw: DropoutDraw,
  x: Float64Array,
  dy: Float64Array,
  branch = false,
): Promise<{ y: Float64Array; dx: Float64Array }> {
  const tokens = draw.positions.length;
  const result = await bench.run({
    counts: { tokens },
    inputs: {
      x: { shape: ["tokens", x.length / tokens], values: x, grad: true },
      seedStep: { shape: [2], values: Uint32Array.of(draw.seed, draw.step) },
      rowInStep: { shape: ["tokens"], values: draw.rowInStep },
      positions: { shape: ["tokens"], values: draw.positions },
    },
    trace: (graph, values) => {
      const y = dropout(graph, values.x!, {
        p: draw.p,
        module: draw.module,
        seedStep: values.seedStep!,
        rowInStep: values.rowInStep!,
        positions: values.positions!,
      });
      // A second reader of x, so that dx is added to what the other has contributed.
      return branch ? { y, sum: add(graph, values.x!, y) } : { y };
    },
    seeds: branch ? { sum: dy } : { y: dy },
  });
  return { y: result.output("y"), dx: result.gradient("x") };
}

async function check(bench: KernelBench, { rows, width, p, branch }: Case): Promise<void> {
  const draw = drawOf(bench, rows, p);
  const x = bench.normal(rows * width);
  const dy = bench.normal(rows * width);
  const { y, dx } = await run(bench, draw, x, dy, branch);
  const expected = backward(dy, draw, width);
  bench.compare("y", y, forward(x, draw, width));
  bench.compare("dx", dx, branch ? expected.map((value, i) => value + dy[i]!) : expected);
}

/** A word that equals the threshold is kept. */
async function keepsTheThreshold(bench: KernelBench): Promise<void> {
  const [tokens, width] = [3, 10];
  const random = drawOf(bench, tokens, 0);
  const counter = [1, random.positions[2]!, random.rowInStep[2]!, random.step] as const;
  const word = philox([random.seed, random.module], counter)[3]!;
  const draw = { ...random, p: word / 2 ** 32 };
  const x = bench.normal(tokens * width);
  const dy = bench.normal(tokens * width);
  const { y, dx } = await run(bench, draw, x, dy);
  const expected = forward(x, draw, width);
  bench.compare("y", y, expected);
  bench.compare("dx", dx, backward(dy, draw, width));
  if (expected[2 * width + 7] === 0) throw new Error("the oracle drops the word that equals the threshold");
}

/** Two rows together and each by itself: the same bytes. */
async function cutAnyway(bench: KernelBench): Promise<void> {
  const [tokens, width] = [7, 50];
  const draw: DropoutDraw = {
    ...drawOf(bench, tokens, 0.4),
    rowInStep: Uint32Array.of(8, 8, 8, 9, 9, 9, 9),
    positions: Uint32Array.of(0, 1, 2, 0, 1, 2, 3),
  };
  const x = bench.normal(tokens * width);
  const dy = bench.normal(tokens * width);
  const whole = await run(bench, draw, x, dy);
  for (const [from, to] of [
    [0, 3],
    [3, 7],
  ] as const) {
    const part = await run(
      bench,
      { ...draw, rowInStep: draw.rowInStep.slice(from, to), positions: draw.positions.slice(from, to) },
      x.slice(from * width, to * width),
      dy.slice(from * width, to * width),
    );
    bench.compare("y", part.y, whole.y.slice(from * width, to * width), 0);
    bench.compare("dx", part.dx, whole.dx.slice(from * width, to * width), 0);
  }
}

const passes = ["forward", "backward_input"];

export const suite = await kernelSuite("dropout", [
  ...cases.map((test) => ({
    name: `[${test.rows}, ${test.width}], p ${test.p}${test.branch ? ", added to another branch" : ""}`,
    passes,
    run: (bench: KernelBench) => check(bench, test),
  })),
  { name: "the same however a step is cut into micro-batches", passes, run: cutAnyway },
  { name: "keeps a word that equals the threshold", passes, run: keepsTheThreshold },
]);
