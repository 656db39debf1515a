import { add } from "../../src/ops/add.ts";
import { swiglu } from "../../src/ops/swiglu.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { backward, forward } from "../reference/swiglu.ts";

interface Case {
  readonly name: string;
  readonly rows: number;
  readonly width: number;
  readonly scale: number;
  readonly branch?: boolean;
}

const cases: readonly Case[] = [
  { name: "[1, 1]", rows: 1, width: 1, scale: 1 },
  { name: "[3, 37]", rows: 3, width: 37, scale: 1 },
  { name: "[5, 64], added to another branch", rows: 5, width: 64, scale: 2, branch: true },
  { name: "[2, 300], gates of a few hundred, where exp would overflow", rows: 2, width: 300, scale: 200 },
];

async function check(bench: KernelBench, { rows, width, scale, branch }: Case): Promise<void> {
  const gateUp = bench.normal(rows * 2 * width, scale);
  const dy = bench.normal(rows * width);
  const dsum = bench.normal(rows * 2 * width);
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { gateUp: { shape: ["tokens", 2 * width], values: gateUp, grad: true } },
    trace: (graph, values) => {
      const y = swiglu(graph, values.gateUp!);
      // Recorded later, so its share is there when the unit's own backward adds to it.
      return branch ? { y, sum: add(graph, values.gateUp!, values.gateUp!) } : { y };
    },
    seeds: branch ? { y: dy, sum: dsum } : { y: dy },
  });
  const expected = backward(gateUp, width, dy);
  bench.compare("y", result.output("y"), forward(gateUp, width));
  bench.compare(
    "d gateUp",
    result.gradient("gateUp"),
    branch ? expected.map((value, i) => value + 2 * dsum[i]!) : expected,
  );
}

export const suite = await kernelSuite(
  "swiglu",
  cases.map((test) => ({
    name: test.name,
    passes: ["forward", "backward_input"],
    run: (bench: KernelBench) => check(bench, test),
  })),
);
