/** Gradient norm, clipping and AdamW over the chunks of the arenas: a few launches however many tensors there are. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, widthOf } from "../graph/graph.ts";
import type { Op, Value } from "../graph/value.ts";

/** One chunk of the four arenas. Each value is f32 [elements], elements a multiple of 64. */
export interface OptimizerChunk {
  readonly parameters: Value;
  readonly gradients: Value;
  readonly firstMoment: Value;
  readonly secondMoment: Value;
  /** The parameter group of each block of 64 elements: `ArenaLayout.groupOfBlocks`. */
  readonly groups: Uint32Array;
}

/** Two tensors of a chunk that are one, turned: a step updates it by the gradients of both, one after the other. */
export interface Tie {
  readonly chunk: number;
  /** The first is [rows, columns]; places count in floats. */
  readonly first: number;
  readonly second: number;
  readonly rows: number;
  readonly columns: number;
}

export interface OptimizerOperands {
  readonly chunks: readonly OptimizerChunk[];
  readonly ties?: readonly Tie[];
  /** Input f32 [groups, 4], filled by `groupHyper`. */
  readonly groupHyper: Value;
  /** Input f32 [8], filled by `commonHyper`. */
  readonly hyper: Value;
  /** The step's scalars: their gradNorm and clipFactor are written. */
  readonly scalars: Value;
}

export interface AdamWSettings {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Gradients are scaled down to this norm; 0 leaves them as they are. */
  readonly maxGradNorm: number;
}

export interface GroupSettings {
  readonly learningRate: number;
  readonly weightDecay: number;
}

export const COMMON_HYPER_COUNT = 8;
export const GROUP_HYPER_COUNT = 4;

/**
 * What all groups share in step `step`, counted from 1. Differences from one are taken here, in float64: 1 − 0.999
 * in f32 would be off by 1e-5 of its value.
 */
export function commonHyper(
  { beta1, beta2, epsilon, maxGradNorm }: AdamWSettings,
  step: number,
): Float32Array {
  return Float32Array.of(
    1 - beta1,
    beta2,
    1 - beta2,
    epsilon,
    Math.sqrt(1 - beta2 ** step),
    maxGradNorm,
    0,
    0,
  );
}

/** Per group: the factor of weight decay, and the learning rate over the first moment's bias. */
export function groupHyper(
  { beta1 }: AdamWSettings,
  groups: readonly GroupSettings[],
  step: number,
): Float32Array {
  const bias = 1 - beta1 ** step;
  return Float32Array.from(
    groups.flatMap(({ learningRate, weightDecay }) => [
      1 - learningRate * weightDecay,
      learningRate / bias,
      0,
      0,
    ]),
  );
}

const LANES = 256;
const QUADS_PER_PARTIAL = 1024;

/** Records the update of all chunks, by the gradients that the micro-batches have summed up. Leaves them in place. */
export function optimizerStep(graph: Graph, operands: OptimizerOperands): void {
  const { chunks, ties = [], groupHyper, hyper, scalars } = operands;
  for (const chunk of chunks) checkChunk(chunk);
  const counts = chunks.map(({ gradients }) => Math.ceil(widthOf(gradients) / 4 / QUADS_PER_PARTIAL));
  const partialCount = counts.reduce((sum, count) => sum + count, 0);

  let partials: Value | undefined;
  let firstPartial = 0;
  chunks.forEach(({ gradients }, i) => {
    const output = { name: "Σ g²", shape: [partialCount], ...(partials ? { inPlaceOf: 1 } : {}) };
    [partials] = graph.record(normPartial, { firstPartial }, [gradients, partials], [output]);
    firstPartial += counts[i]!;
  });
  graph.record(normTotal, { partialCount }, [partials, hyper, scalars], [], { mutates: [scalars] });
  for (const { parameters, gradients, firstMoment, secondMoment, groups } of chunks) {
    const inputs = [parameters, gradients, firstMoment, secondMoment, scalars, groupHyper, hyper];
    graph.record(adamw, { groups }, inputs, [], { mutates: [parameters, firstMoment, secondMoment] });
  }
  for (const one of ties) {
    const { parameters, firstMoment, secondMoment, groups } = chunks[one.chunk]!;
    const inputs = [parameters, firstMoment, secondMoment, groupHyper, hyper];
    graph.record(tie, { ...one, groups }, inputs, [], { mutates: [parameters] });
  }
}

const NO_PARAMS = { quads: 0, first_partial: 0, partial_count: 0, first: 0, second: 0, rows: 0, columns: 0 };

function checkChunk({ parameters, gradients, firstMoment, secondMoment, groups }: OptimizerChunk): void {
  const elements = widthOf(parameters);
  for (const value of [parameters, gradients, firstMoment, secondMoment]) {
    if (value.shape.length !== 1 || widthOf(value) !== elements || elements !== 64 * groups.length) {
      throw new ShapeError(
        "shape",
        `optimizer: ${value.name} is [${value.shape}], expected [${64 * groups.length}] for ${groups.length} blocks of 64.`,
      );
    }
  }
}

const normPartial: Op<{ readonly firstPartial: number }> = {
  name: "optimizer.normPartial",
  lower(node) {
    const gradients = node.inputs[0]!;
    const quads = widthOf(gradients) / 4;
    return [
      {
        kernel: { file: "optimizer", entry: "norm_partial" },
        params: { ...NO_PARAMS, quads, first_partial: node.attributes.firstPartial },
        bindings: { gradients, partials_out: node.outputs[0] },
        workgroups: () => Math.ceil(quads / QUADS_PER_PARTIAL),
      },
    ];
  },
};

const normTotal: Op<{ readonly partialCount: number }> = {
  name: "optimizer.normTotal",
  lower(node) {
    const [partials, hyper, scalars] = node.inputs;
    return [
      {
        kernel: { file: "optimizer", entry: "norm_total" },
        params: { ...NO_PARAMS, partial_count: node.attributes.partialCount },
        bindings: { partials, hyper, scalars_out: scalars },
        workgroups: () => 1,
      },
    ];
  },
};

const adamw: Op<{ readonly groups: Uint32Array }> = {
  name: "optimizer.adamw",
  lower(node) {
    const [parameters, gradients, firstMoment, secondMoment, scalars, groupHyper, hyper] = node.inputs;
    const quads = widthOf(parameters!) / 4;
    return [
      {
        kernel: { file: "optimizer", entry: "adamw" },
        params: { ...NO_PARAMS, quads },
        bindings: {
          parameters,
          gradients,
          first_moment: firstMoment,
          second_moment: secondMoment,
          scalars,
          group_hyper: groupHyper,
          hyper,
          groups_of_blocks: { table: node.attributes.groups },
        },
        workgroups: () => Math.ceil(quads / LANES),
      },
    ];
  },
};

const tie: Op<Tie & { readonly groups: Uint32Array }> = {
  name: "optimizer.tie",
  lower(node) {
    const [elements, firstMoment, secondMoment, groupHyper, hyper] = node.inputs;
    const { first, second, rows, columns, groups } = node.attributes;
    return [
      {
        kernel: { file: "optimizer", entry: "tie" },
        params: { ...NO_PARAMS, first, second, rows, columns },
        bindings: {
          elements,
          first_moment: firstMoment,
          second_moment: secondMoment,
          group_hyper: groupHyper,
          hyper,
          groups_of_blocks: { table: groups },
        },
        workgroups: () => Math.ceil((rows * columns) / LANES),
      },
    ];
  },
};
