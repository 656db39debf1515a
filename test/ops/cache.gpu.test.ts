import { appendToCache } from "../../src/ops/cache.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { append } from "../reference/cache.ts";

interface Case {
  readonly rows: number;
  readonly slots: number;
  readonly xWidth: number;
  readonly start: number;
  readonly width: number;
}

const cases: readonly Case[] = [
  { rows: 1, slots: 1, xWidth: 1, start: 0, width: 1 },
  { rows: 3, slots: 11, xWidth: 37, start: 5, width: 30 },
  { rows: 7, slots: 7, xWidth: 96, start: 32, width: 64 },
];

/** Fewer rows than the plan has room for, each with a slot of its own, in no order. */
async function check(bench: KernelBench, { rows, slots, xWidth, start, width }: Case): Promise<void> {
  const x = bench.normal(rows * xWidth);
  const before = bench.normal(slots * width);
  const order = Uint32Array.from({ length: slots }, (_, i) => i);
  const keys = bench.normal(slots);
  const slot = order.sort((a, b) => keys[a]! - keys[b]!).slice(0, rows);
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: {
      x: { shape: ["tokens", xWidth], values: x },
      slot: { shape: ["tokens"], values: slot },
    },
    states: { cache: { shape: [slots, width], values: before } },
    trace: (graph, values) => {
      appendToCache(graph, values.cache!, values.slot!, values.x!, start);
      return {};
    },
  });
  bench.compare("cache", result.state("cache"), append(before, { xWidth, start, width }, x, slot), 0);
}

export const suite = await kernelSuite(
  "cache",
  cases.map((test) => ({
    name: `${test.rows} rows of ${test.xWidth} into ${test.slots} slots of ${test.width}`,
    passes: ["append"],
    run: (bench: KernelBench) => check(bench, test),
  })),
);
