/** The few numbers of an optimizer step that the host reads back: a state value f32 [4], cleared as a step begins. */
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/value.ts";

/**
 * - `lossSum`: Σ nats over the trained tokens so far; every micro-batch adds to it
 * - `gradNorm`: before clipping
 * - `clipFactor`: what gradients were multiplied by; 1 where nothing was clipped
 */
export const scalarAt = { lossSum: 0, gradNorm: 1, clipFactor: 2 } as const;

export const SCALAR_COUNT = 4;

export function scalarsState(graph: Graph): Value {
  return graph.state("scalars", [SCALAR_COUNT]);
}
