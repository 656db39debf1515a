import { updateTableNorms } from "../../src/ops/doraEmbedding.ts";
import { stackRows } from "../../src/ops/weight.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { type StoredFormat, storedWeight } from "../harness/weights.ts";
import { tableNorms } from "../reference/dora_embedding.ts";

interface Case {
  /** Rows of each slice of the table. */
  readonly slices: readonly number[];
  readonly width: number;
  readonly rank: number;
  readonly format: StoredFormat;
  /** A is zero. */
  readonly fresh?: boolean;
  /** Norms far below one. */
  readonly small?: boolean;
}

const scaleOf = Float64Array.of(-7, 0.5);

async function check(bench: KernelBench, { slices, width, rank, format, fresh, small }: Case): Promise<void> {
  const count = slices.reduce((sum, rows) => sum + rows, 0);
  const stored = slices.map((rows) => {
    const shape = [rows, width] as const;
    if (!small) return storedWeight(bench, format, shape);
    const values = bench.normal(rows * width, 1e-3).map(Math.fround);
    return { values, tensor: { shape, values } };
  });
  const table = Float64Array.from(stored.flatMap(({ values }) => [...values]));
  const a = bench.normal(rank * count).map((value) => (fresh ? 0 : value));
  const b = bench.normal(width * rank, small ? 1e-3 : 1);
  const sizes = { count, width };
  const lengths = tableNorms(table, undefined, sizes).map(Math.fround);
  const guard = { shape: [67], values: bench.normal(67) };
  const result = await bench.run({
    counts: {},
    constants: {
      ...Object.fromEntries(stored.map(({ tensor }, i) => [`w${i}`, tensor])),
      lengths: { shape: [width], values: lengths },
    },
    parameters: {
      guard,
      a: { shape: [rank, count], values: a },
      b: { shape: [width, rank], values: b },
    },
    states: {
      scales: { shape: [2], values: scaleOf },
      norm: { shape: [width], values: bench.normal(width) },
    },
    trace: (graph, values) => {
      const weight = stackRows(
        "table",
        slices.map((_, i) => values[`w${i}`]!),
      );
      const lora = { a: values.a!, b: values.b!, scale: 1 };
      updateTableNorms(graph, weight, lora, {
        lengths: values.lengths!,
        scales: values.scales!,
        norm: values.norm!,
      });
      return {};
    },
  });
  const found = result.state("norm");
  const wanted = tableNorms(table, { rank, scale: 0.5, a, b }, sizes);
  // Each feature by itself, within the bound of docs/lora.md.
  const sums = rank + 256 + Math.ceil(count / 256) + slices.length + 8;
  wanted.forEach((value, o) => {
    let change = 0;
    for (let j = 0; j < rank; j++) {
      change += 0.5 * Math.abs(b[o * rank + j]!) * Math.hypot(...a.subarray(j * count, (j + 1) * count));
    }
    const tolerance = 0.5 * sums * 2 ** -24 * ((lengths[o]! + change) / value) ** 2 + 2 ** -22;
    bench.compare(`n[${o}]`, [found[o]!], [value], tolerance);
  });
  if (fresh && found.some((value, o) => value !== lengths[o])) throw new Error("a zero A changes the norm");
  if (result.state("scales").some((scale, i) => scale !== scaleOf[i])) throw new Error("the scales changed");
}

const cases: readonly Case[] = [
  { slices: [1], width: 1, rank: 1, format: "f32" },
  { slices: [7], width: 9, rank: 3, format: "f32" },
  // Parts that end in the middle, in slices of which the second begins with a part of its own.
  { slices: [257, 259], width: 5, rank: 2, format: "f32" },
  { slices: [20], width: 6, rank: 2, format: "f32", small: true },
  { slices: [600], width: 70, rank: 4, format: "bf16" },
  { slices: [40], width: 33, rank: 16, format: "f16" },
  { slices: [300], width: 12, rank: 5, format: "f32", fresh: true },
];

export const suite = await kernelSuite(
  "dora_embedding",
  cases.map((test) => ({
    name: `${test.slices} ids in ${test.format}, width ${test.width}, rank ${test.rank}${test.fresh ? ", A zero" : ""}`,
    passes: ["growth", "norm"],
    run: (bench: KernelBench) => check(bench, test),
  })),
);
