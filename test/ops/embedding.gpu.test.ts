import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from "../../src/formats/floats.ts";
import { add } from "../../src/ops/add.ts";
import { embedding } from "../../src/ops/embedding.ts";
import { stackRows } from "../../src/ops/weight.ts";
import type { KernelBench, Tensor } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { backward, backwardTable, forward, replaced, rowsOf } from "../reference/embedding.ts";

type Format = "f32" | "f16" | "bf16";

interface Case {
  readonly format: Format;
  readonly rows: number;
  readonly width: number;
  /** Rows of the table's slices. */
  readonly slices: readonly number[];
  readonly soFar?: boolean;
  readonly branch?: boolean;
  /** Slices looked up from the last to the first: none may write the rows of one that came before it. */
  readonly reversed?: boolean;
}

// Odd widths: a row then begins in the middle of the word that holds two 16-bit floats.
const cases: readonly Case[] = (["f32", "f16", "bf16"] as const).flatMap((format) => [
  { format, rows: 1, width: 1, slices: [3] },
  { format, rows: 5, width: 33, slices: [4, 1, 6], soFar: true },
  { format, rows: 9, width: 100, slices: [2, 5], reversed: true },
  { format, rows: 7, width: 64, slices: [11], soFar: true, branch: true },
]);

/** Random finite 16-bit floats over the whole range: any bits but an exponent of all ones. */
function randomBits(bench: KernelBench, count: number, exponent: number): Uint16Array {
  return Uint16Array.from(bench.integers(count, 0x10000), (bits) =>
    (bits & exponent) === exponent ? bits & ~exponent : bits,
  );
}

function tableOf(bench: KernelBench, format: Format, rows: number, width: number): Tensor {
  const shape = [rows, width];
  if (format === "f32") return { shape, values: bench.normal(rows * width) };
  // Ordinary magnitudes, so that every element counts in the comparison; extremes have a test of their own.
  const bits = Uint16Array.from(bench.normal(rows * width), (value) =>
    format === "bf16" ? encodeBf16(value) : encodeF16(value),
  );
  const values = Float64Array.from(bits, format === "bf16" ? decodeBf16 : decodeF16);
  return { shape, values, dtype: format, bytes: new Uint8Array(bits.buffer) };
}

async function check(bench: KernelBench, test: Case): Promise<void> {
  const { format, rows, width, slices, branch } = test;
  const tables = slices.map((height) => tableOf(bench, format, height, width));
  const vocabulary = slices.reduce((sum, height) => sum + height, 0);
  const ids = bench.integers(rows, vocabulary);
  // The table's last row, and the last of the first slice: the bounds.
  ids[0] = vocabulary - 1;
  if (rows > 1) ids[1] = slices[0]! - 1;
  if (rows > 2) ids[2] = slices[0]! % vocabulary;
  const soFar = test.soFar ? bench.normal(rows * width) : undefined;
  const dy = bench.normal(rows * width);
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: {
      ids: { shape: ["tokens"], values: ids },
      ...(soFar && { soFar: { shape: ["tokens", width], values: soFar, grad: true } }),
    },
    constants: Object.fromEntries(tables.map((table, i) => [`slice${i}`, table])),
    trace: (graph, values) => {
      const weight = stackRows(
        "table",
        slices.map((_, i) => values[`slice${i}`]!),
      );
      const ordered = test.reversed ? { ...weight, slices: [...weight.slices].reverse() } : weight;
      const y = embedding(graph, values.ids!, ordered, { soFar: values.soFar });
      if (branch) return { y, sum: add(graph, values.soFar!, y) };
      return soFar ? { y, sum: add(graph, y, y) } : { y };
    },
    ...(soFar && { seeds: { sum: dy } }),
  });
  const table = Float64Array.from(tables.flatMap(({ values }) => [...values]));
  bench.compare("y", result.output("y"), forward(ids, table, width, soFar));
  if (soFar) {
    // y is read twice, or soFar once more than by the lookup: either way dy arrives twice.
    const expected = backward(dy);
    bench.compare(
      "d soFar",
      result.gradient("soFar"),
      expected.map((value) => 2 * value),
    );
  }
}

interface TrainedCase {
  readonly rows: number;
  readonly width: number;
  readonly count: number;
  /** The first row of a second slice. */
  readonly cut?: number;
  /** Rows that replace the table's and train; otherwise the table trains. */
  readonly indices?: readonly number[];
  readonly soFar?: boolean;
}

async function checkTrained(bench: KernelBench, test: TrainedCase): Promise<void> {
  const { rows, width, count, indices, cut } = test;
  const ids = bench.integers(rows, count);
  ids[0] = count - 1;
  // Ids that come again, next to each other and far apart.
  if (rows > 3) ids[rows - 1] = ids[1] = ids[2]!;
  // The rows on both sides of a cut.
  if (cut !== undefined) ids.set([cut - 1, cut], 3);
  // One that is replaced, whatever was drawn.
  if (indices && rows > 4) ids[3] = ids[4] = indices[0]!;
  const table = bench.normal(count * width);
  const own = bench.normal((indices?.length ?? 0) * width);
  const soFar = test.soFar ? bench.normal(rows * width) : undefined;
  const dy = bench.normal(rows * width);
  const ends = cut === undefined ? [0, count] : [0, cut, count];
  const slices = Object.fromEntries(
    ends.slice(1).map((end, i) => {
      const values = table.slice(ends[i]! * width, end * width);
      return [`slice${i}`, { shape: [end - ends[i]!, width], values }] as const;
    }),
  );
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: {
      ids: { shape: ["tokens"], values: ids },
      ...(soFar && { soFar: { shape: ["tokens", width], values: soFar, grad: true } }),
    },
    ...(indices && { constants: slices }),
    parameters: indices ? { own: { shape: [indices.length, width], values: own } } : slices,
    trace: (graph, values) => {
      const weight = stackRows(
        "table",
        Object.keys(slices).map((name) => values[name]!),
      );
      const inPlace = indices && { indices, value: values.own! };
      return { y: embedding(graph, values.ids!, weight, { soFar: values.soFar, replaced: inPlace }) };
    },
    seeds: { y: dy },
  });
  const used = indices ? replaced(table, width, indices, own) : table;
  bench.compare("y", result.output("y"), forward(ids, used, width, soFar));
  if (soFar) bench.compare("d soFar", result.gradient("soFar"), backward(dy));
  const dtable = backwardTable(ids, dy, count, width);
  if (indices) bench.compare("d own", result.gradient("own"), rowsOf(dtable, width, indices));
  else
    ends.slice(1).forEach((end, i) => {
      const wanted = dtable.subarray(ends[i]! * width, end * width);
      bench.compare(`d slice ${i}`, result.gradient(`slice${i}`), wanted);
    });
}

const trainedCases: readonly TrainedCase[] = [
  { rows: 1, width: 1, count: 1 },
  { rows: 5, width: 9, count: 7 },
  // More rows than a workgroup has invocations, of few ids; the first of an id in one, the last in another.
  { rows: 150, width: 6, count: 4, soFar: true },
  { rows: 70, width: 33, count: 300 },
  { rows: 12, width: 8, count: 9, cut: 4 },
  { rows: 6, width: 5, count: 9, indices: [8, 2, 5] },
  { rows: 140, width: 7, count: 12, indices: [3, 11, 0, 4, 10], soFar: true },
  { rows: 9, width: 2, count: 40, indices: [20] },
];

/** Every element by itself, to the last bit: what is small must not drown beside what is large. */
async function decodesExactly(bench: KernelBench, format: "f16" | "bf16"): Promise<void> {
  const half = format === "f16";
  const [height, width] = [9, 33];
  const bits = randomBits(bench, height * width, half ? 0x7c00 : 0x7f80);
  // Largest and smallest normal numbers, largest and smallest subnormals, both zeros and one, of either sign.
  // A bf16's subnormals are f32's, which WGSL lets a device flush to zero: they are left out.
  const corners = half
    ? [0x7bff, 0x0400, 0x03ff, 0x0001, 0x0200, 0x0000, 0x3c00]
    : [0x7f7f, 0x0080, 0x0100, 0x0000, 0x3f80];
  corners.forEach((corner, i) => {
    bits[i] = corner;
    bits[width + i] = corner | 0x8000;
  });
  if (!half) {
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f80) === 0) bits[i]! &= 0x8000;
  }
  const values = Float64Array.from(bits, half ? decodeF16 : decodeBf16);
  const ids = Uint32Array.from({ length: height }, (_, i) => i);
  const table = { shape: [height, width], values, dtype: format, bytes: new Uint8Array(bits.buffer) };
  const result = await bench.run({
    counts: { tokens: height },
    inputs: { ids: { shape: ["tokens"], values: ids } },
    constants: { table },
    trace: (graph, { ids, table }) => ({ y: embedding(graph, ids!, stackRows("table", [table!])) }),
  });
  result.output("y").forEach((value, i) => {
    if (value !== values[i]) {
      const shown = bits[i]!.toString(16);
      throw new Error(
        `${format} 0x${shown} became ${value}, expected ${values[i]} (GRAFT_SEED=${bench.seed})`,
      );
    }
  });
}

export const suite = await kernelSuite("embedding", [
  ...cases.map((test) => ({
    name: `${test.format} [${test.rows}, ${test.width}], slices of ${test.slices} rows${test.soFar ? ", added" : ""}`,
    passes: ["forward"],
    run: (bench: KernelBench) => check(bench, test),
  })),
  ...trainedCases.map((test) => ({
    name: `${test.rows} ids of ${test.count}, width ${test.width}, training ${
      test.indices ? `rows ${test.indices}` : "all rows"
    }${test.soFar ? ", added" : ""}`,
    passes: ["forward", "link", "backward_table"],
    run: (bench: KernelBench) => checkTrained(bench, test),
  })),
  ...(["f16", "bf16"] as const).map((format) => ({
    name: `decodes every ${format} exactly, subnormals and extremes included`,
    passes: ["forward"],
    run: (bench: KernelBench) => decodesExactly(bench, format),
  })),
]);
