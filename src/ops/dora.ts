/**
 * DoRA (Liu et al. 2024): W + s·B·A gives a row of W its direction, a magnitude m of its own its length.
 *
 *   y = (m / n) ⊙ x·(W + s·B·A)ᵀ      n = ‖W + s·B·A‖, row by row, without a gradient
 */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Op, Value } from "../graph/value.ts";
import { add } from "./add.ts";
import { linearBackwardBias } from "./linear.ts";
import type { LowRank } from "./lora.ts";
import { rowLanes } from "./tiles.ts";
import { formatOf, type Weight, type WeightSlice } from "./weight.ts";

/** What stretches the rows of a slice of W: h = m/n − 1. */
export interface Stretch {
  /** m [rows], trainable. */
  readonly magnitude: Value;
  /** n [rows], which `updateNorms` writes. */
  readonly norm: Value;
}

const GROUP = 64;

const NO_PARAMS = {
  ...{ rows_extent: 0, out: 0, width: 0, stride: 0, column: 0, z_stride: 0, z_column: 0 },
  ...{
    rank: 0,
    a: 0,
    b: 0,
    has_start: 0,
    start_a: 0,
    start_b: 0,
    scale: 0,
    is_added: 0,
    has_stretch: 0,
    has_bias: 0,
    has_so_far: 0,
  },
};

interface Norms {
  readonly slice: WeightSlice;
  readonly lora: Pick<LowRank, "a" | "b" | "start" | "scale">;
}

/**
 * Writes n of the rows of a slice of a module's W. `lengths` [rows] are the norms of W's own rows; `slice.rowStart`
 * counts from the module's first row; the factors lie in one chunk of the arena.
 */
export function updateNorms(
  graph: Graph,
  slice: WeightSlice,
  lora: Norms["lora"],
  values: { readonly lengths: Value; readonly scales: Value; readonly norm: Value },
): void {
  const { lengths, scales, norm } = values;
  if (lengths.shape[0] !== slice.rows || norm.shape[0] !== slice.rows) {
    throw new ShapeError(
      "shape",
      `dora ${lora.a.name}: ${lengths.name} is [${lengths.shape}] and ${norm.name} [${norm.shape}], expected [${slice.rows}].`,
    );
  }
  const { a, b, start } = lora;
  const inputs = [slice.value, a, b, scales, lengths, norm, start?.a, start?.b];
  graph.record(norms, { slice, lora }, inputs, [], { mutates: [norm] });
}

const norms: Op<Norms> = {
  name: "dora.norm",
  lower(node, traits) {
    const { slice, lora } = node.attributes;
    const [weights, a, b, scales, lengths, norm, startA, startB] = node.inputs;
    const [rank, width] = a!.shape as readonly [number, number];
    const floats = (value: Value): number => value.place!.byteOffset / 4;
    return [
      {
        kernel: {
          file: "dora",
          entry: "norm",
          weights: formatOf(slice),
          overrides: { LANES: rowLanes(traits) },
        },
        params: {
          ...NO_PARAMS,
          out: slice.rows,
          width,
          rank,
          a: floats(a!),
          b: floats(b!) + slice.rowStart * rank,
          has_start: startA ? 1 : 0,
          start_a: startA ? floats(startA) : 0,
          start_b: startB ? floats(startB) + slice.rowStart * rank : 0,
          scale: lora.scale,
        },
        bindings: { arena: { whole: a! }, weights, scales, lengths, norm_out: norm },
        workgroups: () => Math.ceil(slice.rows / 4),
      },
    ];
  },
};

/** What the columns of z belong to: rows of a W, or the features of an embedding. */
interface Features extends Pick<Weight, "name" | "rows" | "width"> {
  readonly slices: readonly Pick<WeightSlice, "rowStart" | "rows">[];
}

interface Stretched {
  readonly graph: Graph;
  readonly weight: Features;
  /** One per slice of the weight; absent where a slice is not adapted. */
  readonly stretches: readonly (Stretch | undefined)[];
  /** One per slice, or none at all. */
  readonly biases: readonly Value[];
  /** Adds h ⊙ z to the columns of y from here on; otherwise y is made of (1 + h) ⊙ z. */
  readonly addedAt?: number;
}

/** (1 + h) ⊙ z + bias + soFar; z [rows, out] is the product with `weight` and its low-rank paths, without biases. */
export function stretch(
  graph: Graph,
  z: Value,
  weight: Features,
  options: Pick<Stretched, "stretches" | "biases"> & { readonly soFar: Value | undefined },
): Value {
  const { stretches, biases, soFar } = options;
  checkFits(z, weight, stretches);
  const output = { name: weight.name, shape: z.shape };
  const inputs = [z, soFar, ...valuesOf(stretches), ...biases];
  return graph.record(forward, { graph, weight, stretches, biases }, inputs, [output])[0]!;
}

/** y + h ⊙ z in the columns of y from `column` on, in place of y. z [rows, out], y [rows, any]. */
export function addStretched(
  graph: Graph,
  y: Value,
  z: Value,
  options: Pick<Stretched, "weight" | "stretches"> & { readonly column: number },
): Value {
  const { weight, stretches, column } = options;
  checkFits(z, weight, stretches);
  const attributes = { graph, weight, stretches, biases: [], addedAt: column };
  const output = { name: y.name, shape: y.shape, inPlaceOf: 1 };
  return graph.record(forward, attributes, [z, y, ...valuesOf(stretches)], [output])[0]!;
}

function valuesOf(stretches: Stretched["stretches"]): Value[] {
  return stretches.flatMap((one) => (one ? [one.magnitude, one.norm] : []));
}

function checkFits(z: Value, weight: Features, stretches: Stretched["stretches"]): void {
  const fits = weight.slices.every(({ rows }, i) => {
    const one = stretches[i];
    return !one || (one.magnitude.shape[0] === rows && one.norm.shape[0] === rows);
  });
  if (fits && widthOf(z) === weight.rows) return;
  throw new ShapeError(
    "shape",
    `dora ${weight.name}: ${z.name} is [${widthOf(z)}] wide, expected [${weight.rows}], or a magnitude does not fit its rows.`,
  );
}

/** A launch for one slice; y is the value of y's shape, z that of z's. */
function dispatch(
  attributes: Stretched,
  at: number,
  [y, z]: readonly [Value, Value],
  entry: string,
  bindings: Dispatch["bindings"],
  flags: { readonly has_bias?: number; readonly has_so_far?: number } = {},
): Dispatch {
  const { graph, weight, stretches, addedAt } = attributes;
  const slice = weight.slices[at]!;
  const rows = graph.extentOf(rowsOf(y));
  const one = stretches[at];
  const items = (count: number): number => (entry === "backward_magnitude" ? 1 : count) * slice.rows;
  return {
    // These passes read no weight, but the file declares one.
    kernel: { file: "dora", entry, weights: "f32" },
    params: {
      ...NO_PARAMS,
      rows_extent: rows.index,
      out: slice.rows,
      stride: widthOf(y),
      column: (addedAt ?? 0) + slice.rowStart,
      z_stride: widthOf(z),
      z_column: slice.rowStart,
      is_added: addedAt === undefined ? 0 : 1,
      has_stretch: one ? 1 : 0,
      ...flags,
    },
    bindings: { ...bindings, m: one?.magnitude, n: one?.norm },
    workgroups: (size) => (size(rows) === 0 ? 0 : Math.ceil(items(size(rows)) / GROUP)),
  };
}

const forward: Op<Stretched> = {
  name: "dora.forward",
  lower(node) {
    const { weight, biases, addedAt } = node.attributes;
    const [z, soFar] = node.inputs as [Value, Value | undefined];
    const y = node.outputs[0]!;
    return weight.slices.map((_, i) => {
      if (addedAt !== undefined) return dispatch(node.attributes, i, [y, z], "forward_added", { z, y });
      const flags = { has_bias: biases[i] ? 1 : 0, has_so_far: soFar ? 1 : 0 };
      return dispatch(node.attributes, i, [y, z], "forward", { z, bias: biases[i], so_far: soFar, y }, flags);
    });
  },
  backward(node, context) {
    const { graph, weight, stretches, biases } = node.attributes;
    const z = node.inputs[0]!;
    const dy = context.outputGradient()!;
    weight.slices.forEach((slice, i) => {
      const dm = stretches[i]?.magnitude.gradient;
      if (dm) {
        const attributes = { ...node.attributes, at: i };
        graph.record(backwardMagnitude, attributes, [dy, z, stretches[i]!.norm, dm], [], {
          mutates: [dm],
        });
      }
      const dbias = biases[i]?.gradient;
      if (dbias) linearBackwardBias(graph, dy, weight, slice, dbias);
    });
    context.give(0, (soFar) => {
      const output = { name: `d ${z.name}`, shape: z.shape };
      const inputs = [dy, ...valuesOf(stretches)];
      const dz = graph.record(backwardInput, node.attributes, inputs, [output])[0]!;
      return soFar ? add(graph, soFar, dz) : dz;
    });
    context.give(1, (soFar) => (soFar ? add(graph, soFar, dy) : dy));
  },
};

const backwardInput: Op<Stretched> = {
  name: "dora.backwardInput",
  lower(node) {
    const dy = node.inputs[0]!;
    const dz = node.outputs[0]!;
    return node.attributes.weight.slices.map((_, i) =>
      dispatch(node.attributes, i, [dy, dz], "backward_input", { dy, dz }),
    );
  },
};

const backwardMagnitude: Op<Stretched & { readonly at: number }> = {
  name: "dora.backwardMagnitude",
  lower(node) {
    const [dy, z, , dm] = node.inputs as Value[];
    const bindings = { dy, z, dm };
    return [dispatch(node.attributes, node.attributes.at, [dy!, z!], "backward_magnitude", bindings)];
  },
};
