import { add } from "../../src/ops/add.ts";
import { lowRankPath } from "../../src/ops/lora.ts";
import type { KernelBench, Tensor } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { backward, type Factors, forward } from "../reference/lora.ts";

/** First row of W, rows of W, rank, index into `scaleOf`. */
type Module = readonly [rowStart: number, height: number, rank: number, scale: number];

// All differ from one another and from 1; the first belongs to no module that is tested.
const scaleOf = Float64Array.of(-7, 0.5, 2, 0.25, 3);

interface Case {
  readonly rows: number;
  readonly width: number;
  readonly out: number;
  readonly modules: readonly Module[];
  /** x and the old y are read by others too: dx and the gradient of y are added to what those contribute. */
  readonly branch?: boolean;
  /** The factors are frozen; only x is asked for its gradient. */
  readonly frozen?: boolean;
  /** x is asked for no gradient. */
  readonly leaf?: boolean;
  readonly capacity?: number;
  /** Each B has a bias. */
  readonly biased?: boolean;
  /** Each module has a second pair, which does not train: any, or one that cancels the first. */
  readonly start?: "any" | "cancels";
}

async function check(bench: KernelBench, test: Case): Promise<void> {
  const { rows, width, out, branch = false, frozen = false, leaf = false, biased = false } = test;
  const modules: Factors[] = test.modules.map(([rowStart, height, rank, scale]) => {
    const [a, b] = [bench.normal(rank * width), bench.normal(height * rank)];
    const start =
      test.start === "cancels"
        ? { a, b: b.map((value) => -value) }
        : { a: bench.normal(rank * width), b: bench.normal(height * rank) };
    return {
      ...{ rowStart, scale: scaleOf[scale]!, rank, a, b },
      ...(biased ? { bias: bench.normal(height) } : {}),
      ...(test.start ? { start } : {}),
    };
  });
  const guard = { shape: [67], values: bench.normal(67) };
  const parameters: Record<string, Tensor> = { first: guard };
  modules.forEach(({ rank, a, b, bias, start }, i) => {
    parameters[`a${i}`] = { shape: [rank, width], values: a, grad: !frozen };
    parameters[`between${i}`] = guard;
    parameters[`b${i}`] = { shape: [b.length / rank, rank], values: b, grad: !frozen };
    if (bias) parameters[`bias${i}`] = { shape: [bias.length], values: bias, grad: !frozen };
    if (start) {
      parameters[`startB${i}`] = { shape: [b.length / rank, rank], values: start.b };
      parameters[`startA${i}`] = { shape: [rank, width], values: start.a };
    }
  });
  const x = bench.normal(rows * width);
  const [u, v] = [bench.normal(rows * out), bench.normal(rows * out)];
  const before = u.map((value, i) => value + v[i]!);
  const [dy, dbefore, dz] = [bench.normal(rows * out), bench.normal(rows * out), bench.normal(rows * width)];
  const result = await bench.run({
    counts: { tokens: rows },
    ...(test.capacity === undefined ? {} : { capacity: { tokens: test.capacity } }),
    inputs: {
      x: { shape: ["tokens", width], values: x, grad: !leaf },
      u: { shape: ["tokens", out], values: u, grad: true },
      v: { shape: ["tokens", out], values: v },
    },
    parameters,
    states: { scales: { shape: [scaleOf.length], values: scaleOf } },
    trace: (graph, values) => {
      const before = add(graph, values.u!, values.v!);
      const adapted = test.modules.map(([rowStart, rows, , scale], i) => {
        const [startA, startB] = [values[`startA${i}`], values[`startB${i}`]];
        return {
          rowStart,
          rows,
          a: values[`a${i}`]!,
          b: values[`b${i}`]!,
          bias: values[`bias${i}`],
          start: startA && startB && { a: startA, b: startB },
          scale,
        };
      });
      const y = lowRankPath(graph, values.x!, before, adapted, values.scales!);
      return branch ? { y, before, z: add(graph, values.x!, values.x!) } : { y };
    },
    seeds: branch ? { y: dy, before: dbefore, z: dz } : { y: dy },
  });
  if (test.start === "cancels" && result.output("y").some((value, i) => value !== Math.fround(before[i]!))) {
    throw new Error("two pairs that cancel change y");
  }
  const expected = backward(x, modules, { width, out }, dy);
  bench.compare("y", result.output("y"), forward(x, before, modules, { width, out }));
  if (branch) bench.compare("the old y", result.output("before"), before);
  const plus = (a: Float64Array, b: Float64Array, times: number) =>
    branch ? a.map((value, i) => value + times * b[i]!) : a;
  bench.compare("gradient of the old y", result.gradient("u"), plus(dy, dbefore, 1));
  if (!leaf) bench.compare("dx", result.gradient("x"), plus(expected.dx, dz, 2));
  modules.forEach((_, i) => {
    if (!frozen) bench.compare(`dA ${i}`, result.gradient(`a${i}`), expected.da[i]!);
    if (!frozen) bench.compare(`dB ${i}`, result.gradient(`b${i}`), expected.db[i]!);
    if (!frozen && biased) bench.compare(`dbias ${i}`, result.gradient(`bias${i}`), expected.dbias[i]!);
  });
  // What lies around the factors in the arena is not theirs to change, nor the scales.
  const around = ["first", ...modules.map((_, i) => `between${i}`)];
  if (test.start) around.push(...modules.flatMap((_, i) => [`startA${i}`, `startB${i}`]));
  for (const name of frozen ? Object.keys(parameters) : around) {
    if (result.gradient(name).some((change) => change !== 0))
      throw new Error(`the gradient of ${name} changed`);
  }
  if (result.state("scales").some((scale, i) => scale !== scaleOf[i])) throw new Error("the scales changed");
}

// Gaps of unadapted rows before, between and after; modules neither in the order of their rows nor of their scales.
const fused: readonly Module[] = [
  [23, 7, 1, 3],
  [3, 20, 8, 4],
  [32, 16, 16, 1],
];
const cases: readonly Case[] = [
  { rows: 1, width: 7, out: 5, modules: [[0, 5, 3, 2]] },
  // 16 rows of W fill the table to its last byte, 16 × 3 invocations do not fill a workgroup: the tail is masked.
  { rows: 5, width: 37, out: 16, modules: [[0, 16, 3, 3]], branch: true },
  // Five rows in groups of four, in a buffer without room for a sixth.
  { rows: 5, width: 64, out: 64, modules: [[0, 64, 64, 1]], capacity: 5, leaf: true },
  { rows: 17, width: 65, out: 49, modules: fused },
  { rows: 17, width: 65, out: 49, modules: fused, branch: true },
  { rows: 6, width: 20, out: 49, modules: fused, frozen: true },
  { rows: 17, width: 12, out: 49, modules: fused, biased: true },
  { rows: 6, width: 20, out: 49, modules: fused, biased: true, frozen: true },
  { rows: 17, width: 12, out: 49, modules: fused, start: "any", branch: true },
  { rows: 6, width: 21, out: 49, modules: fused, start: "any", biased: true },
  { rows: 6, width: 20, out: 49, modules: fused, start: "any", frozen: true },
  { rows: 9, width: 67, out: 49, modules: fused, start: "cancels", leaf: true },
  // More rows of W than a workgroup of four each; the last ones are three.
  { rows: 3, width: 5, out: 303, modules: [[0, 303, 2, 1]], biased: true },
  // Whole tiles of rows, and two or three left over of everything else.
  { rows: 8, width: 11, out: 6, modules: [[0, 6, 6, 3]] },
  { rows: 7, width: 10, out: 7, modules: [[0, 7, 7, 3]] },
  {
    rows: 70,
    width: 33,
    out: 45,
    modules: [
      [1, 21, 3, 0],
      [22, 23, 16, 4],
    ],
    branch: true,
  },
];

export const suite = await kernelSuite(
  "lora",
  cases.map((test) => ({
    name: `[${test.rows}, ${test.width}] to ${test.out}, ranks ${test.modules.map(([, , rank]) => rank)}${
      test.branch ? ", added to other branches" : ""
    }${test.biased ? ", with biases" : ""}${
      test.start === "any" ? ", second pairs" : test.start ? ", second pairs that cancel" : ""
    }${test.frozen ? ", frozen" : ""}${test.leaf ? ", no dx" : ""}`,
    passes: [
      "down",
      "up",
      "backward_p",
      ...(test.frozen ? [] : ["backward_a", "backward_b"]),
      ...(test.biased && !test.frozen ? ["backward_bias"] : []),
      ...(test.leaf ? [] : ["backward_x"]),
    ],
    run: (bench: KernelBench) => check(bench, test),
  })),
);
