/** y = so_far + x·Wᵀ + bias, and its backward. W may be frozen (no dW) or train, slice by slice. */
import { ShapeError } from "../base/errors.ts";
import type { DeviceTraits } from "../gpu/device.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import { type Dim, type Dispatch, maxOf, type Node, type Op, type Value } from "../graph/value.ts";
import { add } from "./add.ts";
import { type Tile, tileFor, tileGroups, tileOverrides } from "./tiles.ts";
import { formatOf, type Weight, type WeightSlice } from "./weight.ts";

interface Linear {
  readonly graph: Graph;
  readonly weight: Weight;
  /** One per slice of the weight, [rows], or none at all. */
  readonly biases: readonly Value[];
}

interface LinearInputs {
  /** A bias per slice of the weight, each [slice rows]. */
  readonly biases?: readonly Value[];
  /** Added to the result: the residual stream, or a gradient that another branch gave. */
  readonly soFar?: Value | undefined;
}

/** x [rows, width], W [out, width] → soFar + x·Wᵀ + bias [rows, out]. */
export function linear(graph: Graph, x: Value, weight: Weight, options: LinearInputs = {}): Value {
  const { biases = [], soFar } = options;
  if (widthOf(x) !== weight.width) {
    throw new ShapeError(
      "shape",
      `linear ${weight.name}: W is [${weight.rows}, ${weight.width}], but ${x.name} is ${widthOf(x)} wide.`,
    );
  }
  weight.slices.forEach((slice, i) => {
    if (biases.length > 0 && biases[i]?.shape[0] !== slice.rows) {
      throw new ShapeError("shape", `linear ${weight.name}: a bias does not fit its ${slice.rows} rows.`);
    }
  });
  const inputs = [x, soFar, ...weight.slices.map((slice) => slice.value), ...biases];
  const shape = [rowsOf(x), weight.rows];
  return graph.record(forward, { graph, weight, biases }, inputs, [{ name: weight.name, shape }])[0]!;
}

/** dy [rows, out] → soFar + dy·W [rows, width]. */
function linearBackwardInput(graph: Graph, dy: Value, weight: Weight, soFar?: Value): Value {
  // Slices add up: each starts from what the ones before it gave.
  return weight.slices.reduce<Value | undefined>((sum, slice) => {
    const output = { name: `d input of ${weight.name}`, shape: [rowsOf(dy), weight.width] };
    return graph.record(backwardInput, { graph, weight, slice }, [dy, sum, slice.value], [output])[0]!;
  }, soFar)!;
}

/** Adds dyᵀ·x to the gradient of every slice that trains. dy [rows, out], x [rows, width]. */
function linearBackwardWeight(graph: Graph, x: Value, dy: Value, weight: Weight): void {
  for (const slice of weight.slices) {
    const { gradient } = slice.value;
    if (!gradient) continue;
    graph.record(backwardWeight, { graph, weight, slice }, [x, dy, gradient], [], { mutates: [gradient] });
  }
}

/** Adds the sum of dy's rows to the gradient of a slice's bias. dy [rows, out]. */
export function linearBackwardBias(
  graph: Graph,
  dy: Value,
  weight: BiasSlice["weight"],
  slice: BiasSlice["slice"],
  dbias: Value,
): void {
  graph.record(backwardBias, { graph, weight, slice }, [dy, dbias], [], { mutates: [dbias] });
}

interface LinearSlice {
  readonly graph: Graph;
  readonly weight: Weight;
  readonly slice: WeightSlice;
}

/** A bias needs no more of its weight than where its columns lie. */
interface BiasSlice {
  readonly graph: Graph;
  readonly weight: Pick<Weight, "rows" | "width">;
  readonly slice: Pick<WeightSlice, "rowStart" | "rows">;
}

interface Product {
  readonly pass: "forward" | "backward_input" | "backward_weight";
  readonly graph: Graph;
  readonly weight: Weight;
  readonly slice: WeightSlice;
  readonly rows: Dim;
  readonly flags: { readonly has_bias: number; readonly has_so_far: number };
  readonly bindings: Dispatch["bindings"];
}

function sliceParams(
  graph: Graph,
  rows: Dim,
  weight: BiasSlice["weight"],
  slice: BiasSlice["slice"],
  flags: Product["flags"],
) {
  return {
    rows_extent: graph.extentOf(rows).index,
    width: weight.width,
    out: slice.rows,
    stride: weight.rows,
    column: slice.rowStart,
    ...flags,
  };
}

/** The launch of a product, in the form that the tile table gives. */
function product(
  traits: DeviceTraits,
  { pass, graph, weight, slice, rows, flags, bindings }: Product,
): Dispatch {
  const aligned = [weight.width, weight.rows, slice.rows, slice.rowStart].every((size) => size % 4 === 0);
  const across = pass === "forward" ? slice.rows : weight.width;
  const down = (count: number): number => (pass === "backward_weight" ? slice.rows : count);
  const tile: Tile = tileFor(traits, down(maxOf(rows)), across, aligned);
  return {
    kernel: {
      file: tile.form === "quad" ? "linear/quad" : "linear",
      entry: `${pass}_${tile.form}`,
      // A trainable weight is f32; the pass that makes its gradient reads no weight, but the file declares one.
      weights: formatOf(slice),
      overrides: tileOverrides(tile),
    },
    params: sliceParams(graph, rows, weight, slice, flags),
    bindings: pass === "backward_weight" ? bindings : { ...bindings, weights: slice.value },
    workgroups: (size) => (size(rows) === 0 ? 0 : tileGroups(tile, down(size(rows)), across)),
  };
}

const forward: Op<Linear> = {
  name: "linear.forward",
  lower(node, traits) {
    const { graph, weight, biases } = node.attributes;
    const [x, soFar] = node.inputs;
    return weight.slices.map((slice, i) =>
      product(traits, {
        pass: "forward",
        graph,
        weight,
        slice,
        rows: rowsOf(x!),
        flags: { has_bias: biases[i] ? 1 : 0, has_so_far: soFar ? 1 : 0 },
        bindings: { x, bias: biases[i], so_far: soFar, y: node.outputs[0] },
      }),
    );
  },
  backward(node: Node<Linear>, context) {
    const { graph, weight, biases } = node.attributes;
    const x = node.inputs[0]!;
    const dy = context.outputGradient()!;
    context.give(0, (soFar) => linearBackwardInput(graph, dy, weight, soFar));
    context.give(1, (soFar) => (soFar ? add(graph, soFar, dy) : dy));
    linearBackwardWeight(graph, x, dy, weight);
    weight.slices.forEach((slice, i) => {
      const gradient = biases[i]?.gradient;
      if (gradient) linearBackwardBias(graph, dy, weight, slice, gradient);
    });
  },
};

const backwardInput: Op<LinearSlice> = {
  name: "linear.backwardInput",
  lower(node, traits) {
    const [dy, soFar] = node.inputs;
    return [
      product(traits, {
        pass: "backward_input",
        ...node.attributes,
        rows: rowsOf(dy!),
        flags: { has_bias: 0, has_so_far: soFar ? 1 : 0 },
        bindings: { dy, so_far: soFar, dx: node.outputs[0] },
      }),
    ];
  },
};

const backwardWeight: Op<LinearSlice> = {
  name: "linear.backwardWeight",
  lower(node, traits) {
    const [x, dy, dw] = node.inputs;
    return [
      product(traits, {
        pass: "backward_weight",
        ...node.attributes,
        rows: rowsOf(x!),
        flags: { has_bias: 0, has_so_far: 0 },
        bindings: { x, dy, dw },
      }),
    ];
  },
};

const backwardBias: Op<BiasSlice> = {
  name: "linear.backwardBias",
  lower(node) {
    const { graph, weight, slice } = node.attributes;
    const [dy, dbias] = node.inputs;
    return [
      {
        kernel: { file: "linear", entry: "backward_bias", weights: "f32" },
        params: sliceParams(graph, rowsOf(dy!), weight, slice, { has_bias: 0, has_so_far: 0 }),
        bindings: { dy, dbias },
        workgroups: (size) => (size(rowsOf(dy!)) === 0 ? 0 : Math.ceil(slice.rows / 64)),
      },
    ];
  },
};
