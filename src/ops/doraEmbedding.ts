/** The norms that DoRA needs of an embedding: of each feature, over all ids. */
import { ShapeError } from "../base/errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Dispatch, Op, Value } from "../graph/value.ts";
import type { LowRank } from "./lora.ts";
import { formatOf, type Weight, type WeightSlice } from "./weight.ts";

interface Growth {
  readonly slice: WeightSlice;
  readonly firstPart: number;
  readonly lora: Pick<LowRank, "a" | "b" | "scale">;
}

const LANES = 64;
/** Ids that one invocation sums, as in shaders/dora_embedding.wgsl. */
const PART = 256;

const NO_PARAMS = {
  ...{ count: 0, width: 0, start: 0, first_part: 0, parts: 0 },
  ...{ rank: 0, a: 0, a_stride: 0, b: 0, scale: 0 },
};

/**
 * Writes n of every feature of a table. `lengths` [width] are the norms of W's own features; A and B lie in one chunk
 * of the arena.
 */
export function updateTableNorms(
  graph: Graph,
  table: Weight,
  lora: Growth["lora"],
  values: { readonly lengths: Value; readonly scales: Value; readonly norm: Value },
): void {
  const { lengths, scales, norm } = values;
  if (lengths.shape[0] !== table.width || norm.shape[0] !== table.width) {
    throw new ShapeError(
      "shape",
      `dora ${table.name}: ${lengths.name} is [${lengths.shape}] and ${norm.name} [${norm.shape}], expected [${table.width}].`,
    );
  }
  const partsOf = ({ rows }: WeightSlice): number => Math.ceil(rows / PART);
  const parts = table.slices.reduce((sum, slice) => sum + partsOf(slice), 0);
  let growths: Value | undefined;
  let firstPart = 0;
  for (const slice of table.slices) {
    const output = {
      name: `growths of ${table.name}`,
      shape: [parts, table.width],
      ...(growths ? { inPlaceOf: 4 } : {}),
    };
    const inputs = [slice.value, lora.a, lora.b, scales, growths];
    [growths] = graph.record(growth, { slice, firstPart, lora }, inputs, [output]);
    firstPart += partsOf(slice);
  }
  graph.record(normOfGrowths, {}, [growths, lengths, norm], [], { mutates: [norm] });
}

const growth: Op<Growth> = {
  name: "doraEmbedding.growth",
  lower(node) {
    const { slice, firstPart, lora } = node.attributes;
    const [weights, a, b, scales] = node.inputs as Value[];
    const [rank, count] = a!.shape as readonly [number, number];
    const width = weights!.shape[1] as number;
    const dispatch: Dispatch = {
      kernel: { file: "dora_embedding", entry: "growth", weights: formatOf(slice) },
      params: {
        ...NO_PARAMS,
        count: slice.rows,
        width,
        start: slice.rowStart,
        first_part: firstPart,
        rank,
        a: a!.place!.byteOffset / 4,
        a_stride: count,
        b: b!.place!.byteOffset / 4,
        scale: lora.scale,
      },
      bindings: { arena: { whole: a! }, weights, scales, growths_out: node.outputs[0] },
      workgroups: () => Math.ceil((Math.ceil(slice.rows / PART) * width) / LANES),
    };
    return [dispatch];
  },
};

const normOfGrowths: Op<object> = {
  name: "doraEmbedding.norm",
  lower(node) {
    const [growths, lengths, norm] = node.inputs as Value[];
    const [parts, width] = growths!.shape as readonly [number, number];
    return [
      {
        kernel: { file: "dora_embedding", entry: "norm", weights: "f32" },
        params: { ...NO_PARAMS, width, parts },
        bindings: { growths, lengths, norm_out: norm },
        workgroups: () => Math.ceil(width / LANES),
      },
    ];
  },
};
