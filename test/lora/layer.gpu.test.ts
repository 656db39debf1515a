/** A whole layer, dropout included, against the float64 oracles: what `project` makes of products, paths and stretches. */
import { afterAll, beforeAll, describe, it } from "vitest";
import { project } from "../../src/lora/layer.ts";
import { stackRows } from "../../src/ops/weight.ts";
import { type KernelBench, openBench, type Tensor } from "../harness/bench.ts";
import { overSeeds } from "../harness/cases.ts";
import { type StoredFormat, storedWeight } from "../harness/weights.ts";
import { changed, layer, layerBackward, norms } from "../reference/dora.ts";
import { forward as drop, backward as undrop } from "../reference/dropout.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench.close());

/** Rows of W, rank (0: not adapted), how W is stored. */
type Module = readonly [out: number, rank: number, format: StoredFormat];

const [tokens, width] = [9, 12];
const scaleOf = Float64Array.of(-5, 0.5, 3, 1.5);

interface Options {
  /** Added to the residual stream. */
  readonly withSoFar?: boolean;
  /** Each pair has a second one beside it, which does not train: W counts as changed by that, and is not dropped. */
  readonly withStarts?: boolean;
}

async function check(
  modules: readonly Module[],
  p: number,
  { withSoFar = false, withStarts = false }: Options = {},
): Promise<void> {
  const out = modules.reduce((sum, [rows]) => sum + rows, 0);
  const x = bench.normal(tokens * width);
  const before = bench.normal(tokens * out);
  const dy = bench.normal(tokens * out);
  const [seed, step] = [...bench.integers(2, 2 ** 32)] as [number, number];
  const rowInStep = bench.integers(tokens, 100);
  const positions = bench.integers(tokens, 100);
  const constants: Record<string, Tensor> = {};
  const parameters: Record<string, Tensor> = {};
  const states: Record<string, Tensor> = { scales: { shape: [scaleOf.length], values: scaleOf } };
  let rowStart = 0;
  const parts = modules.map(([rows, rank, format], i) => {
    const { tensor, values } = storedWeight(bench, format, [rows, width]);
    const sizes = { width, out: rows };
    const factors = {
      rank,
      scale: scaleOf[i + 1]!,
      a: bench.normal(rank * width),
      b: bench.normal(rows * rank),
    };
    const start = { ...factors, a: bench.normal(rank * width), b: bench.normal(rows * rank) };
    const w = withStarts && rank > 0 ? changed(values, start, sizes) : values;
    const n = norms(w, factors, sizes).map(Math.fround);
    // Near the norms, as where they are trained: with m/n all but 0, m/n − 1 and 1 would cancel.
    const m = rank > 0 ? bench.normal(rows).map((value, o) => Math.fround(value * n[o]!)) : n;
    const bias = bench.normal(rows);
    constants[`w${i}`] = tensor;
    parameters[`bias${i}`] = { shape: [rows], values: bias };
    if (rank > 0) {
      parameters[`a${i}`] = { shape: [rank, width], values: factors.a };
      parameters[`b${i}`] = { shape: [rows, rank], values: factors.b };
      parameters[`m${i}`] = { shape: [rows], values: m };
      if (withStarts) {
        parameters[`startA${i}`] = { shape: [rank, width], values: start.a };
        parameters[`startB${i}`] = { shape: [rows, rank], values: start.b };
      }
      states[`n${i}`] = { shape: [rows], values: n };
    }
    const at = rowStart;
    rowStart += rows;
    return { i, at, rows, rank, sizes, key: 7 + i, layer: { ...factors, w, bias, m, n } };
  });
  const result = await bench.run({
    counts: { tokens },
    inputs: {
      x: { shape: ["tokens", width], values: x, grad: true },
      before: { shape: ["tokens", out], values: before, grad: true },
      seedStep: { shape: [2], values: Uint32Array.of(seed, step) },
      rowInStep: { shape: ["tokens"], values: rowInStep },
      positions: { shape: ["tokens"], values: positions },
    },
    constants,
    parameters,
    states,
    trace: (graph, values) => {
      const weight = stackRows(
        "w",
        parts.map(({ i }) => values[`w${i}`]!),
      );
      const adapted = parts.flatMap(({ i, at, rows, rank, key }) => {
        if (rank === 0) return [];
        const [a, b] = [values[`a${i}`]!, values[`b${i}`]!];
        const start = withStarts ? { a: values[`startA${i}`]!, b: values[`startB${i}`]! } : undefined;
        return [{ rowStart: at, rows, a, b, start, scale: i + 1, dropoutKey: key }];
      });
      const stretches = parts.map(({ i, rank }) =>
        rank > 0 ? { magnitude: values[`m${i}`]!, norm: values[`n${i}`]! } : undefined,
      );
      const projection = { weight, biases: parts.map(({ i }) => values[`bias${i}`]!), adapted, stretches };
      const dropout = {
        p,
        seedStep: values.seedStep!,
        rowInStep: values.rowInStep!,
        positions: values.positions!,
      };
      const lora = { scales: values.scales!, ...(p > 0 ? { dropout } : {}) };
      return { y: project(graph, values.x!, projection, lora, withSoFar ? values.before : undefined) };
    },
    seeds: { y: dy },
  });

  const y = result.output("y");
  const dx = new Float64Array(x.length);
  for (const { i, at, rows, rank, sizes, key, layer: one } of parts) {
    const own = (all: Float64Array) => all.filter((_, j) => j % out >= at && j % out < at + rows);
    const draw = { p, seed, step, module: key, rowInStep, positions };
    const dropped = p > 0 ? drop(x, draw, width) : x;
    const wanted = layer(x, dropped, one, sizes);
    bench.compare(`y ${i}`, own(y), withSoFar ? wanted.map((value, j) => value + own(before)[j]!) : wanted);
    const gradients = layerBackward(x, dropped, one, sizes, own(dy));
    const byDropped = p > 0 ? undrop(gradients.ddropped, draw, width) : gradients.ddropped;
    for (let j = 0; j < dx.length; j++) dx[j]! += gradients.dx[j]! + byDropped[j]!;
    bench.compare(`dbias ${i}`, result.gradient(`bias${i}`), gradients.dbias);
    if (rank === 0) continue;
    bench.compare(`dA ${i}`, result.gradient(`a${i}`), gradients.da);
    bench.compare(`dB ${i}`, result.gradient(`b${i}`), gradients.db);
    bench.compare(`dm ${i}`, result.gradient(`m${i}`), gradients.dm);
  }
  bench.compare("dx", result.gradient("x"), dx);
  if (withSoFar) bench.compare("d so_far", result.gradient("before"), dy);
}

const joined: readonly Module[] = [
  [8, 2, "f32"],
  [12, 0, "f16"],
  [20, 3, "bf16"],
];

describe("a layer with DoRA", () => {
  const cases: readonly [name: string, ...Parameters<typeof check>][] = [
    ["is PEFT's formula where nothing is dropped", joined, 0],
    ["is PEFT's formula under dropout, each module with a mask of its own", joined, 0.4],
    ["is added to the residual stream", [[13, 4, "f32"]], 0, { withSoFar: true }],
    ["is added to the residual stream under dropout", [[13, 4, "f32"]], 0.25, { withSoFar: true }],
    ["may begin as a part of W", joined, 0, { withStarts: true }],
    [
      "may begin as a part of W under dropout, which drops nothing of what was taken out of W",
      joined,
      0.4,
      { withStarts: true, withSoFar: true },
    ],
  ];
  for (const [name, ...settings] of cases) {
    it(name, () => overSeeds(bench, name, () => check(...settings)));
  }
});
