import type { DeviceClass } from "../../src/gpu/device.ts";
import { add } from "../../src/ops/add.ts";
import { attention } from "../../src/ops/attention.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { type AttentionShape, backward, forward } from "../reference/attention.ts";

/** [first, end) of keys for each query, flat. */
type Ranges = readonly (readonly [number, number])[];

/** Sequences laid end to end; each query sees what came before it, at most `window` tokens with itself. */
function causal(lengths: readonly number[], window = Number.POSITIVE_INFINITY): Ranges {
  let start = 0;
  return lengths.flatMap((length) => {
    const first = start;
    start += length;
    return Array.from({ length }, (_, i): [number, number] => [
      Math.max(first, first + i + 1 - window),
      first + i + 1,
    ]);
  });
}

/** Sequences laid end to end; each query sees the whole of its own. */
function bidirectional(lengths: readonly number[]): Ranges {
  let start = 0;
  return lengths.flatMap((length) => {
    const first = start;
    start += length;
    return Array.from({ length }, (): [number, number] => [first, first + length]);
  });
}

/** For each key, from the first query that sees it to the last. */
function mirror(ranges: Ranges, keys: number): Ranges {
  return Array.from({ length: keys }, (_, key): [number, number] => {
    const sees = ranges.map(([first, end]) => first <= key && key < end);
    return [Math.max(0, sees.indexOf(true)), sees.lastIndexOf(true) + 1];
  });
}

interface Layout {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly scale?: number;
  /** Columns before, between and after queries, keys and values, which belong to nobody. */
  readonly gap?: number;
}

interface Case extends Layout {
  readonly name: string;
  readonly ranges: Ranges;
  /** Keys of a value of their own; absent where one value holds queries, keys and values. */
  readonly keys?: number;
  readonly capacity?: number;
  readonly tolerance?: number;
  /** Another reader, whose gradient is there before attention's. */
  readonly branch?: boolean;
  /** The device classes under whose tiling it runs. Compiling takes most of a case's time. */
  readonly forms: readonly DeviceClass[];
  /** Which of the values wants a gradient; all by default. */
  readonly wants?: readonly ("q" | "kv")[];
}

const flat = (ranges: Ranges): Uint32Array => Uint32Array.from(ranges.flat());

/** Queries, keys and values of one value, in that order. */
async function checkFused(bench: KernelBench, test: Case, deviceClass: DeviceClass): Promise<void> {
  const { heads, keyValueHeads, headDim, ranges, gap = 0 } = test;
  const scale = test.scale ?? 1 / Math.sqrt(headDim);
  const tokens = ranges.length;
  const keyStart = gap + heads * headDim + gap;
  const valueStart = keyStart + keyValueHeads * headDim + gap;
  const width = valueStart + keyValueHeads * headDim + gap;
  const values = bench.normal(tokens * width);
  const dy = bench.normal(tokens * heads * headDim);
  const dbranch = bench.normal(tokens * width);
  const keyRange = flat(ranges);
  const result = await bench.run({
    counts: { tokens },
    capacity: { tokens: test.capacity ?? tokens + 3 },
    inputs: {
      x: { shape: ["tokens", width], values, grad: true },
      zero: { shape: ["tokens", width], values: new Float64Array(tokens * width) },
      keyRange: { shape: ["tokens", 2], values: keyRange },
      queryRange: { shape: ["tokens", 2], values: flat(mirror(ranges, tokens)) },
    },
    trace: (graph, { x, zero, keyRange, queryRange }) => {
      // A computed value: what lies beyond the live tokens is poison.
      const qkv = add(graph, x!, zero!);
      const y = attention(graph, {
        q: { value: qkv, start: gap },
        kv: { value: qkv, keyStart, valueStart },
        heads,
        keyValueHeads,
        headDim,
        scale,
        keyRange: keyRange!,
        queryRange: queryRange!,
      });
      return test.branch ? { y, other: add(graph, qkv, zero!) } : { y };
    },
    seeds: test.branch ? { y: dy, other: dbranch } : { y: dy },
    traits: { deviceClass },
  });
  const shape: AttentionShape = {
    heads,
    keyValueHeads,
    headDim,
    scale,
    q: { width, start: gap },
    kv: { width, keyStart, valueStart },
    keyRange,
  };
  const { dq, dkv } = backward(shape, values, values, dy);
  const expected = dq.map((d, i) => d + dkv[i]! + (test.branch ? dbranch[i]! : 0));
  bench.compare("y", result.output("y"), forward(shape, values, values));
  const found = result.gradient("x");
  const part = (start: number, count: number) => (all: Float64Array) =>
    all.filter((_, i) => i % width >= start && i % width < start + count);
  const parts = {
    dq: part(gap, heads * headDim),
    dk: part(keyStart, keyValueHeads * headDim),
    dv: part(valueStart, keyValueHeads * headDim),
  };
  for (const [name, of] of Object.entries(parts)) {
    // Of one key alone the probability is 1 whatever the score: dq and dk are zero, to rounding.
    if (ranges.every(([first, end]) => end - first <= 1) && name !== "dv" && !test.branch) {
      if (of(found).some((d) => Math.abs(d) > 1e-5))
        throw new Error(`${name} is not zero (GRAFT_SEED=${bench.seed})`);
    } else bench.compare(name, of(found), of(expected), test.tolerance);
  }
  // The columns between them, and the whole, as one.
  bench.compare("d qkv", found, expected, test.tolerance);
}

/** Queries of one value, keys and values (in the order v, k) of another. */
async function checkSeparate(bench: KernelBench, test: Case, deviceClass: DeviceClass): Promise<void> {
  const { heads, keyValueHeads, headDim, ranges, gap = 0, wants = ["q", "kv"] } = test;
  const keys = test.keys!;
  const scale = test.scale ?? 1 / Math.sqrt(headDim);
  const keyStart = keyValueHeads * headDim + gap;
  const shape: AttentionShape = {
    heads,
    keyValueHeads,
    headDim,
    scale,
    q: { width: heads * headDim + 2 * gap, start: gap },
    kv: { width: 2 * keyStart, keyStart, valueStart: 0 },
    keyRange: flat(ranges),
  };
  const q = bench.normal(ranges.length * shape.q.width);
  const kv = bench.normal(keys * shape.kv.width);
  const dy = bench.normal(ranges.length * heads * headDim);
  const result = await bench.run({
    counts: { tokens: ranges.length, targets: keys },
    inputs: {
      q: { shape: ["tokens", shape.q.width], values: q, grad: wants.includes("q") },
      kv: { shape: ["targets", shape.kv.width], values: kv, grad: wants.includes("kv") },
      // Added, so that what attention sees beyond the live rows is poison.
      zeroQ: { shape: ["tokens", shape.q.width], values: new Float64Array(q.length) },
      zeroKv: { shape: ["targets", shape.kv.width], values: new Float64Array(kv.length) },
      keyRange: { shape: ["tokens", 2], values: flat(ranges) },
      queryRange: { shape: ["targets", 2], values: flat(mirror(ranges, keys)) },
    },
    trace: (graph, { q, kv, zeroQ, zeroKv, keyRange, queryRange }) => ({
      y: attention(graph, {
        q: { value: add(graph, q!, zeroQ!), start: gap },
        kv: { value: add(graph, kv!, zeroKv!), keyStart, valueStart: 0 },
        heads,
        keyValueHeads,
        headDim,
        scale,
        keyRange: keyRange!,
        queryRange: wants.length > 0 ? queryRange! : undefined,
      }),
    }),
    ...(wants.length > 0 ? { seeds: { y: dy } } : {}),
    traits: { deviceClass },
  });
  const expected = backward(shape, q, kv, dy);
  bench.compare("y", result.output("y"), forward(shape, q, kv));
  if (wants.includes("q")) bench.compare("dq", result.gradient("q"), expected.dq, test.tolerance);
  if (wants.includes("kv")) bench.compare("dkv", result.gradient("kv"), expected.dkv, test.tolerance);
}

const one = { heads: 1, keyValueHeads: 1 };
const both: readonly DeviceClass[] = ["software", "gpu"];
const packed = [1, 2, 5, 17, 64, 3, 1];
const few = Array.from({ length: 50 }, (_, i) => (i < 30 ? ([0, 3] as const) : ([0, 0] as const)));
const holes = causal([14, 3]).map((range, i) =>
  i === 2 || i === 16 || (i > 6 && i < 12) ? ([i, i] as const) : range,
);
// Tiles are of 4 rows, and slices of 32 features: lengths and widths on both sides of those.
const cases: readonly Case[] = [
  { name: "one token", ranges: causal([1]), ...one, headDim: 4, forms: both },
  { name: "a tile and one more", ranges: causal([9]), heads: 3, keyValueHeads: 3, headDim: 16, forms: both },
  {
    name: "heads of 2",
    ranges: causal([5]),
    heads: 2,
    keyValueHeads: 1,
    headDim: 2,
    scale: 0.3,
    forms: ["gpu"],
  },
  {
    name: "packed, heads of 10",
    ranges: causal(packed),
    heads: 4,
    keyValueHeads: 2,
    headDim: 10,
    scale: 0.5,
    forms: both,
  },
  {
    name: "packed, 6:1",
    ranges: causal(packed),
    heads: 6,
    keyValueHeads: 1,
    headDim: 16,
    capacity: 300,
    forms: both,
  },
  {
    name: "packed, heads of 32",
    ranges: causal([64, 1, 1, 1, 30]),
    heads: 2,
    keyValueHeads: 2,
    headDim: 32,
    forms: ["gpu"],
  },
  { name: "heads of 64", ranges: causal([130]), heads: 3, keyValueHeads: 1, headDim: 64, forms: both },
  {
    name: "window of 3, heads of 80",
    ranges: causal([40, 7], 3),
    heads: 2,
    keyValueHeads: 1,
    headDim: 80,
    forms: both,
  },
  {
    name: "window of 16",
    ranges: causal([70], 16),
    heads: 4,
    keyValueHeads: 2,
    headDim: 8,
    scale: 1,
    forms: ["gpu"],
  },
  {
    name: "bidirectional",
    ranges: bidirectional([1, 50, 3, 13]),
    heads: 2,
    keyValueHeads: 2,
    headDim: 20,
    forms: both,
  },
  { name: "heads of 128", ranges: causal([19, 2]), heads: 2, keyValueHeads: 1, headDim: 128, forms: ["gpu"] },
  { name: "heads of 256", ranges: causal([10]), ...one, headDim: 256, scale: 0.05, forms: both },
  {
    name: "columns of nobody",
    ranges: causal([11, 4]),
    heads: 2,
    keyValueHeads: 1,
    headDim: 12,
    gap: 4,
    forms: both,
  },
  // So few words that one workgroup clears them.
  {
    name: "columns of nobody, few",
    ranges: bidirectional([2]),
    heads: 2,
    keyValueHeads: 1,
    headDim: 4,
    scale: 0.125,
    gap: 4,
    forms: ["software"],
  },
  // 36 features are nine fours, in two slices of five: the last goes past the head.
  {
    name: "columns of nobody, unaligned",
    ranges: causal([6, 13]),
    heads: 3,
    keyValueHeads: 1,
    headDim: 36,
    gap: 3,
    forms: both,
  },
  { name: "heads of 24", ranges: causal([6]), ...one, headDim: 24, forms: ["gpu"] },
  // So few tokens that a software device runs the slices of neighbouring heads side by side.
  { name: "uneven slices", ranges: causal([4]), heads: 3, keyValueHeads: 1, headDim: 36, forms: ["gpu"] },
  {
    name: "added to another branch",
    ranges: causal([6, 13]),
    heads: 2,
    keyValueHeads: 1,
    headDim: 8,
    branch: true,
    forms: ["gpu"],
  },
  {
    name: "queries that see nothing, between others",
    ranges: holes,
    heads: 2,
    keyValueHeads: 1,
    headDim: 8,
    forms: both,
  },
  {
    // The union of a tile's ranges has a hole of more than a tile.
    name: "distant ranges in one tile",
    ranges: Array.from({ length: 60 }, (_, i): [number, number] => (i % 2 === 0 ? [0, 5] : [41, 60])),
    heads: 2,
    keyValueHeads: 1,
    headDim: 8,
    forms: both,
  },
  {
    // In four tiles each place has once what the tile sees first, and once what it sees last; of queries and of keys.
    name: "ranges in any order",
    ranges: Array.from({ length: 16 }, (_, i): [number, number] => {
      const key = 4 * ((i + (i >> 2)) % 4) + ((16 - i) % 4);
      return [key, key + 1];
    }),
    keys: 16,
    heads: 1,
    keyValueHeads: 1,
    headDim: 8,
    wants: ["kv"],
    forms: ["software"],
  },
  // Without the running maximum exp of a score would overflow.
  { name: "large scores", ranges: causal([33]), ...one, headDim: 16, scale: 8, tolerance: 1e-4, forms: both },
  {
    name: "few queries, many keys",
    ranges: [
      [0, 97],
      [0, 98],
      [3, 99],
    ],
    keys: 120,
    heads: 4,
    keyValueHeads: 2,
    headDim: 10,
    gap: 2,
    forms: both,
  },
  {
    name: "many queries, few keys",
    ranges: few,
    keys: 3,
    heads: 2,
    keyValueHeads: 2,
    headDim: 8,
    gap: 4,
    forms: both,
  },
  {
    name: "a gradient of queries alone",
    ranges: [
      [0, 7],
      [2, 9],
    ],
    keys: 9,
    heads: 2,
    keyValueHeads: 1,
    headDim: 8,
    wants: ["q"],
    forms: ["gpu"],
  },
  {
    name: "a gradient of keys alone",
    ranges: [
      [0, 7],
      [2, 9],
    ],
    keys: 9,
    heads: 2,
    keyValueHeads: 1,
    headDim: 8,
    wants: ["kv"],
    forms: ["gpu"],
  },
  {
    name: "no gradient",
    ranges: [[4, 90]],
    keys: 100,
    heads: 4,
    keyValueHeads: 2,
    headDim: 64,
    wants: [],
    forms: both,
  },
];

function passesOf({ gap, wants = ["q", "kv"] }: Case): string[] {
  return [
    "forward",
    ...(wants.length > 0 ? ["backward_delta"] : []),
    ...(wants.includes("q") ? ["backward_query"] : []),
    ...(wants.includes("kv") ? ["backward_key"] : []),
    ...(gap ? ["backward_clear"] : []),
  ];
}

export const suite = await kernelSuite(
  "attention",
  cases.flatMap((test) =>
    test.forms.map((deviceClass) => ({
      name: `${test.name}, ${deviceClass}`,
      passes: passesOf(test),
      run: (bench: KernelBench) =>
        test.keys === undefined
          ? checkFused(bench, test, deviceClass)
          : checkSeparate(bench, test, deviceClass),
    })),
  ),
);
