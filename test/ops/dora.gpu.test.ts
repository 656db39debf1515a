import { add } from "../../src/ops/add.ts";
import { addStretched, stretch, updateNorms } from "../../src/ops/dora.ts";
import { stackRows } from "../../src/ops/weight.ts";
import type { KernelBench, Tensor } from "../harness/bench.ts";
import { kernelSuite, onBothClasses } from "../harness/cases.ts";
import { type StoredFormat, storedWeight } from "../harness/weights.ts";
import { backward, forward, norms } from "../reference/dora.ts";

interface NormCase {
  /** Rows of the module, of which the slice has those from `start` to `end`. */
  readonly out: number;
  readonly start: number;
  readonly end: number;
  readonly width: number;
  readonly rank: number;
  readonly format: StoredFormat;
  /** B is zero; or s·B·A undoes all of W but a hundredth; or there is a second pair, any or one that cancels the first. */
  readonly change?: "none" | "opposing" | "second pair" | "cancelled";
}

const scaleOf = Float64Array.of(-7, 0.5);

async function checkNorms(bench: KernelBench, test: NormCase): Promise<void> {
  const { out, start, end, width, rank, format, change } = test;
  const rows = end - start;
  const stored = storedWeight(bench, format, [rows, width]);
  const a = bench.normal(rank * width);
  const b = bench.normal(out * rank).map((value) => (change === "none" ? 0 : value));
  const own = b.subarray(start * rank, end * rank);
  const second =
    change === "cancelled"
      ? { a, b: b.map((value) => -value) }
      : { a: bench.normal(rank * width), b: bench.normal(out * rank) };
  const isPaired = change === "second pair" || change === "cancelled";
  let { values: w, tensor } = stored;
  if (change === "opposing") {
    const minus = Float64Array.from({ length: rows * width }, (_, i) => {
      const [o, k] = [Math.floor(i / width), i % width];
      let sum = 0;
      for (let j = 0; j < rank; j++) sum += own[o * rank + j]! * a[j * width + k]!;
      return Math.fround((-0.5 * sum) / 0.99);
    });
    w = minus;
    tensor = { shape: [rows, width], values: minus };
  }
  const sizes = { width, out: rows };
  const lengths = norms(w, undefined, sizes).map(Math.fround);
  const guard = { shape: [67], values: bench.normal(67) };
  const result = await bench.run({
    counts: {},
    constants: { w: tensor, lengths: { shape: [rows], values: lengths } },
    parameters: {
      guard,
      a: { shape: [rank, width], values: a },
      b: { shape: [out, rank], values: b },
      ...(isPaired
        ? {
            secondB: { shape: [out, rank], values: second.b },
            secondA: { shape: [rank, width], values: second.a },
          }
        : {}),
    },
    states: {
      scales: { shape: [2], values: scaleOf },
      norm: { shape: [rows], values: bench.normal(rows) },
    },
    trace: (graph, values) => {
      const slice = { rowStart: start, rows, value: values.w! };
      const pair = isPaired ? { start: { a: values.secondA!, b: values.secondB! } } : {};
      updateNorms(
        graph,
        slice,
        { a: values.a!, b: values.b!, scale: 1, ...pair },
        { lengths: values.lengths!, scales: values.scales!, norm: values.norm! },
      );
      return {};
    },
  });
  const found = result.state("norm");
  // Two pairs are one of twice the rank.
  const added = {
    a: Float64Array.of(...a, ...second.a),
    b: beside(own, second.b.subarray(start * rank), rank),
  };
  const factors = isPaired ? { rank: 2 * rank, ...added } : { rank, a, b: own };
  const wanted = norms(w, { scale: 0.5, ...factors }, sizes);
  // Each row by itself, within the bound of docs/lora.md; a software device has four invocations a row.
  const sums = factors.rank + width / 16 + 2 + 8;
  const sizeOf = (values: Float64Array, row: number) =>
    Math.hypot(...values.subarray(row * width, (row + 1) * width));
  wanted.forEach((value, o) => {
    let change = 0;
    for (let j = 0; j < factors.rank; j++) {
      change += 0.5 * Math.abs(factors.b[o * factors.rank + j]!) * sizeOf(factors.a, j);
    }
    const tolerance = 0.5 * sums * 2 ** -24 * ((lengths[o]! + change) / value) ** 2 + 2 ** -22;
    bench.compare(`n[${o}]`, [found[o]!], [value], tolerance);
  });
  if ((change === "none" || change === "cancelled") && found.some((value, o) => value !== lengths[o])) {
    throw new Error("what adds nothing changes the norm");
  }
  if (result.state("scales").some((scale, i) => scale !== scaleOf[i])) throw new Error("the scales changed");
}

/** [rows, 2 · rank] of two [rows, rank]. */
function beside(left: Float64Array, right: Float64Array, rank: number): Float64Array {
  return Float64Array.from({ length: 2 * left.length }, (_, i) => {
    const [row, column] = [Math.floor(i / (2 * rank)), i % (2 * rank)];
    return column < rank ? left[row * rank + column]! : right[row * rank + column - rank]!;
  });
}

interface Case {
  readonly rows: number;
  /** Rows of each slice of W, and whether it is adapted. */
  readonly slices: readonly (readonly [number, "adapted" | "plain"])[];
  readonly bias?: boolean;
  /** A bias that trains. */
  readonly trainedBias?: boolean;
  readonly soFar?: boolean;
  /** h ⊙ z is added to wider rows, from this column on. */
  readonly addedAt?: number;
  /** The magnitudes are frozen. */
  readonly frozen?: boolean;
}

async function check(bench: KernelBench, test: Case): Promise<void> {
  const { rows, slices, bias = false, trainedBias = false, soFar = false, addedAt, frozen = false } = test;
  const out = slices.reduce((sum, [size]) => sum + size, 0);
  const stride = addedAt === undefined ? out : addedAt + out + 3;
  const u = bench.normal(rows * out);
  const v = bench.normal(rows * out);
  const z = u.map((value, i) => value + v[i]!);
  const before = bench.normal(rows * stride);
  const dy = bench.normal(rows * stride);
  const dz = bench.normal(rows * out);
  const m = bench.normal(out);
  const n = bench.normal(out).map((value) => Math.fround(0.5 + Math.abs(value)));
  const bs = bench.normal(out);
  const parameters: Record<string, Tensor> = {};
  const constants: Record<string, Tensor> = {};
  const states: Record<string, Tensor> = {};
  let row = 0;
  slices.forEach(([size, kind], i) => {
    const part = (values: Float64Array) => ({ shape: [size], values: values.slice(row, row + size) });
    constants[`w${i}`] = { shape: [size, 4], values: bench.normal(size * 4) };
    if (kind === "adapted") parameters[`m${i}`] = { ...part(m), grad: !frozen };
    else m.set(n.subarray(row, row + size), row);
    if (kind === "adapted") states[`n${i}`] = part(n);
    if (bias) (trainedBias ? parameters : constants)[`b${i}`] = part(bs);
    row += size;
  });
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: {
      u: { shape: ["tokens", out], values: u, grad: true },
      v: { shape: ["tokens", out], values: v },
      before: { shape: ["tokens", stride], values: before, grad: true },
      nothing: { shape: ["tokens", stride], values: before.map(() => 0) },
    },
    constants,
    parameters,
    states,
    trace: (graph, values) => {
      const made = add(graph, values.u!, values.v!);
      const weight = stackRows(
        "w",
        slices.map((_, i) => values[`w${i}`]!),
      );
      const stretches = slices.map((_, i) => {
        const [magnitude, norm] = [values[`m${i}`], values[`n${i}`]];
        return magnitude && norm ? { magnitude, norm } : undefined;
      });
      if (addedAt !== undefined) {
        const y = add(graph, values.before!, values.nothing!);
        return { y: addStretched(graph, y, made, { weight, stretches, column: addedAt }), z: made };
      }
      const biases = bias ? slices.map((_, i) => values[`b${i}`]!) : [];
      const y = stretch(graph, made, weight, { stretches, biases, soFar: soFar ? values.before : undefined });
      // What else reads z: its gradient is a sum.
      return { y, z: made };
    },
    seeds: { y: dy, z: dz },
  });
  const [from, to] = [addedAt ?? 0, (addedAt ?? 0) + out];
  const own = (values: Float64Array) => values.filter((_, i) => i % stride >= from && i % stride < to);
  const expected = backward(z, m, n, own(dy));
  const share = addedAt === undefined ? expected.dz : expected.dz.map((value, i) => value - own(dy)[i]!);
  const y = forward(z, m, n).map((value, i) =>
    addedAt === undefined
      ? value + (bias ? bs[i % out]! : 0) + (soFar ? before[i]! : 0)
      : value - z[i]! + own(before)[i]!,
  );
  bench.compare("y", own(result.output("y")), y);
  const beside = (values: Float64Array) => values.filter((_, i) => i % stride < from || i % stride >= to);
  if (addedAt !== undefined) bench.compare("y beside", beside(result.output("y")), beside(before));
  bench.compare(
    "dz",
    result.gradient("u"),
    share.map((value, i) => value + dz[i]!),
  );
  if (soFar || addedAt !== undefined) bench.compare("d so_far", result.gradient("before"), dy);
  row = 0;
  slices.forEach(([size, kind], i) => {
    const dm = expected.dm.slice(row, row + size);
    if (kind === "adapted" && !frozen) bench.compare(`dm ${i}`, result.gradient(`m${i}`), dm);
    if (trainedBias) {
      const dbias = dm.map((_, o) => dy.reduce((sum, v, at) => (at % out === row + o ? sum + v : sum), 0));
      bench.compare(`dbias ${i}`, result.gradient(`b${i}`), dbias);
    }
    row += size;
  });
}

const normCases: readonly NormCase[] = [
  { out: 1, start: 0, end: 1, width: 1, rank: 1, format: "f32" },
  { out: 9, start: 0, end: 9, width: 37, rank: 3, format: "f32" },
  // Wider than what 64 invocations of four features take at once, and not by a multiple of four.
  { out: 6, start: 0, end: 6, width: 301, rank: 2, format: "bf16" },
  { out: 24, start: 8, end: 19, width: 40, rank: 5, format: "f16" },
  { out: 70, start: 3, end: 70, width: 68, rank: 16, format: "bf16" },
  { out: 10, start: 0, end: 10, width: 37, rank: 4, format: "f32", change: "none" },
  { out: 10, start: 0, end: 10, width: 64, rank: 4, format: "f32", change: "opposing" },
  { out: 24, start: 8, end: 19, width: 70, rank: 5, format: "bf16", change: "second pair" },
  { out: 10, start: 0, end: 10, width: 37, rank: 3, format: "f32", change: "cancelled" },
];
const two = [
  [20, "adapted"],
  [9, "plain"],
  [71, "adapted"],
] as const;
const cases: readonly Case[] = [
  { rows: 1, slices: [[5, "adapted"]] },
  { rows: 7, slices: two },
  { rows: 7, slices: two, bias: true },
  { rows: 9, slices: two, bias: true, trainedBias: true, soFar: true },
  { rows: 3, slices: two, soFar: true, frozen: true },
  // 64 columns fill a workgroup.
  { rows: 130, slices: [[64, "adapted"]], soFar: true },
  { rows: 5, slices: [[3, "adapted"]], addedAt: 0 },
  {
    rows: 11,
    slices: [
      [5, "adapted"],
      [66, "adapted"],
    ],
    addedAt: 13,
  },
];

export const suite = await kernelSuite("dora", [
  ...onBothClasses(
    normCases.map((test) => ({
      name: `rows ${test.start} to ${test.end} of [${test.out}, ${test.width}], rank ${test.rank}, ${test.format}${
        test.change ? `, change ${test.change}` : ""
      }`,
      passes: ["norm"],
      run: (bench: KernelBench) => checkNorms(bench, test),
    })),
  ),
  ...cases.map((test) => ({
    name: `${test.rows} × ${test.slices.map(([size, kind]) => `${size} ${kind}`).join(" + ")}${
      test.bias ? ", bias" : ""
    }${test.soFar ? ", so far" : ""}${test.frozen ? ", frozen" : ""}${
      test.addedAt === undefined ? "" : `, added at ${test.addedAt}`
    }`,
    passes: [
      test.addedAt === undefined ? "forward" : "forward_added",
      "backward_input",
      ...(test.frozen ? [] : ["backward_magnitude"]),
    ],
    run: (bench: KernelBench) => check(bench, test),
  })),
]);
