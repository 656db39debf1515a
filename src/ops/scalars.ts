/** The few numbers of an optimizer step that the host reads back: a state value f32 [5], cleared as a step begins. */
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/value.ts";

/**
 * - `lossSum`: Σ nats over the trained tokens so far; every micro-batch adds to it
 * - `gradNorm`: before clipping
 * - `clipFactor`: what gradients were multiplied by; 1 where nothing was clipped
 * - `entropySum`: Σ nats of entropy of what the model foretells, over the same tokens
 * - `rightSum`: of those, how many it gives the highest probability
 */
export const scalarAt = { lossSum: 0, gradNorm: 1, clipFactor: 2, entropySum: 3, rightSum: 4 } as const;

export const SCALAR_COUNT = 5;

export function scalarsState(graph: Graph): Value {
  return graph.state("scalars", [SCALAR_COUNT]);
}

/** Over the trained tokens of an optimizer step, or of what is held out. Names are TRL's. */
export interface TokenMeans {
  /** Mean nats. */
  readonly loss: number;
  /** Mean nats of entropy of what the model foretells. */
  readonly entropy: number;
  /** Share of the tokens that the model gives the highest probability. */
  readonly mean_token_accuracy: number;
}

export function tokenMeans(scalars: Float32Array, targets: number): TokenMeans {
  return {
    loss: scalars[scalarAt.lossSum]! / targets,
    entropy: scalars[scalarAt.entropySum]! / targets,
    mean_token_accuracy: scalars[scalarAt.rightSum]! / targets,
  };
}
