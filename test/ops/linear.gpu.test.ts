import { linear } from "../../src/ops/linear.ts";
import { tiles } from "../../src/ops/tiles.ts";
import { stackRows } from "../../src/ops/weight.ts";
import type { KernelBench, Tensor } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { type StoredFormat, storedWeight } from "../harness/weights.ts";
import { backward, forward } from "../reference/linear.ts";

interface Case {
  readonly tile: keyof typeof tiles;
  readonly rows: number;
  readonly width: number;
  /** Rows of each slice of the weight, and whether and how it is stored; "train" is a parameter. */
  readonly slices: readonly (readonly [number, StoredFormat | "train"])[];
  readonly bias?: boolean;
  readonly soFar?: boolean;
}

const name = ({ tile, rows, width, slices, bias, soFar }: Case): string =>
  `${tile} x [${rows}, ${width}], W ${slices.map(([out, format]) => `${out} ${format}`).join(" over ")}` +
  `${bias ? ", bias" : ""}${soFar ? ", added to another branch" : ""}`;

function concatenate(parts: readonly Float64Array[]): Float64Array {
  return Float64Array.from(parts.flatMap((part) => [...part]));
}

async function check(bench: KernelBench, { tile, rows, width, slices, bias, soFar }: Case): Promise<void> {
  const out = slices.reduce((sum, [size]) => sum + size, 0);
  const x = bench.normal(rows * width);
  const dy = bench.normal(rows * out);
  const before = bench.normal(rows * out);
  const constants: Record<string, Tensor> = {};
  const parameters: Record<string, Tensor> = {};
  const weights = slices.map(([size, format], i) => {
    const { tensor, values } = storedWeight(bench, format === "train" ? "f32" : format, [size, width]);
    (format === "train" ? parameters : constants)[`w${i}`] = tensor;
    return values;
  });
  const biases = slices.map(([size, format], i) => {
    const values = bench.normal(size);
    if (bias) (format === "train" ? parameters : constants)[`b${i}`] = { shape: [size], values };
    return values;
  });
  const result = await bench.run({
    counts: { tokens: rows },
    traits: { tile },
    inputs: {
      x: { shape: ["tokens", width], values: x, grad: true },
      before: { shape: ["tokens", out], values: before, grad: true },
    },
    constants,
    parameters,
    trace: (graph, values) => {
      const weight = stackRows(
        "w",
        slices.map((_, i) => values[`w${i}`]!),
      );
      const options = bias ? { biases: slices.map((_, i) => values[`b${i}`]!) } : {};
      const y = linear(graph, values.x!, weight, soFar ? { ...options, soFar: values.before } : options);
      // A second reader of x, so that dx is added to what the other has contributed.
      return soFar ? { first: linear(graph, values.x!, weight), y } : { y };
    },
    seeds: soFar ? { first: dy, y: dy } : { y: dy },
  });
  const shape = { rows, width, out };
  const w = concatenate(weights);
  const y = forward(shape, x, w, bias ? concatenate(biases) : undefined);
  bench.compare("y", result.output("y"), soFar ? y.map((value, i) => value + before[i]!) : y);
  const twice = soFar ? 2 : 1;
  const { dx, dw, dbias } = backward(shape, x, w, dy);
  bench.compare(
    "dx",
    result.gradient("x"),
    dx.map((value) => twice * value),
  );
  if (soFar) bench.compare("d so_far", result.gradient("before"), dy);
  let row = 0;
  slices.forEach(([size, format], i) => {
    if (format === "train") {
      const slice = dw.slice(row * width, (row + size) * width).map((value) => twice * value);
      bench.compare(`dW ${i}`, result.gradient(`w${i}`), slice);
      if (bias) bench.compare(`dbias ${i}`, result.gradient(`b${i}`), dbias.slice(row, row + size));
    }
    row += size;
  });
}

// Multiples of nothing, of four only, of a tile, and one more than a tile.
const shapes: Omit<Case, "tile">[] = [
  { rows: 1, width: 1, slices: [[1, "train"]] },
  { rows: 5, width: 7, slices: [[3, "train"]], bias: true },
  { rows: 17, width: 36, slices: [[20, "train"]], bias: true, soFar: true },
  { rows: 33, width: 131, slices: [[65, "f32"]], soFar: true },
  { rows: 64, width: 64, slices: [[64, "f16"]] },
  { rows: 70, width: 68, slices: [[132, "train"]] },
  {
    rows: 19,
    width: 40,
    slices: [
      [12, "f16"],
      [8, "train"],
      [24, "bf16"],
    ],
    bias: true,
    soFar: true,
  },
  {
    rows: 19,
    width: 30,
    slices: [
      [5, "train"],
      [7, "f16"],
      [9, "bf16"],
    ],
    bias: true,
  },
  { rows: 200, width: 24, slices: [[8, "train"]], bias: true },
  // One workgroup of plain products, full to its last tile.
  { rows: 32, width: 32, slices: [[32, "train"]] },
  // A bias of several workgroups.
  { rows: 3, width: 5, slices: [[130, "train"]], bias: true },
];

/** The entry points of each form; the list also tells test/shaders.test.ts what is exercised here. */
const passesOf = {
  quad: ["forward_quad", "backward_input_quad", "backward_weight_quad"],
  shared: ["forward_shared", "backward_input_shared", "backward_weight_shared"],
  plain: ["forward_plain", "backward_input_plain", "backward_weight_plain"],
} as const;

export const suite = await kernelSuite(
  "linear",
  (Object.keys(tiles) as (keyof typeof tiles)[]).flatMap((tile) =>
    shapes.map((shape) => {
      const sizes = [shape.width, ...shape.slices.map(([size]) => size)];
      const { form } = sizes.every((size) => size % 4 === 0) ? tiles[tile] : tiles.plain;
      const trains = shape.slices.some(([, format]) => format === "train");
      return {
        name: name({ tile, ...shape }),
        passes: [
          ...passesOf[form].slice(0, trains ? 3 : 2),
          ...(trains && shape.bias ? ["backward_bias"] : []),
        ],
        run: (bench: KernelBench) => check(bench, { tile, ...shape }),
      };
    }),
  ),
);
