/** One micro-batch as a plan: forward, loss and backward, for as many tokens as one of this run holds. */
import { DataError } from "../base/errors.ts";
import type { Capacity } from "../data/inputs.ts";
import type { TokenisedRow } from "../data/tokenisedRow.ts";
import { differentiate } from "../graph/backward.ts";
import { Graph } from "../graph/graph.ts";
import { makePlan, type Plan, widestBytesPerToken } from "../graph/plan.ts";
import { recomputeBlocks } from "../graph/prune.ts";
import type { Value } from "../graph/value.ts";
import { CHUNK_BYTES, crossEntropy } from "../ops/crossEntropy.ts";
import { scalarsState } from "../ops/scalars.ts";
import type { AdaptedModel, Traced } from "./adaptedModel.ts";
import type { TrainConfig } from "./fields.ts";
import type { TracedInputs } from "./tracedInputs.ts";

export interface MicroBatchPlan {
  readonly plan: Plan;
  readonly inputs: TracedInputs;
  /** Where the loss is added up. */
  readonly scalars: Value;
  /** What was wanted, or as much of it as the device's bindings hold. */
  readonly capacity: Capacity;
}

/** Throws DataError where a row by itself is longer than the device's bindings hold. */
export function planMicroBatch(
  adapted: AdaptedModel,
  rows: readonly TokenisedRow[],
  wanted: Capacity,
  { gradient_checkpointing }: Pick<TrainConfig, "gradient_checkpointing">,
): MicroBatchPlan {
  const { traits } = adapted.gpu;
  const { capacity, traced } = traceFitting(adapted, rows, wanted);
  const { graph, inputs, hidden, head } = traced;
  const scalars = scalarsState(graph);
  const chunkBytes = Math.min(traits.maxBinding, CHUNK_BYTES);
  crossEntropy(graph, hidden, head, { ...inputs, scalars, withGradient: true, chunkBytes });
  const forwardCount = graph.nodes.length;
  differentiate(graph);
  const nodes = gradient_checkpointing ? recomputeBlocks(graph, forwardCount) : graph.nodes;
  return { plan: makePlan(graph, traits, nodes), inputs, scalars, capacity };
}

/** The forward, for fewer tokens where the widest activation would not fit into one binding. */
function traceFitting(adapted: AdaptedModel, rows: readonly TokenisedRow[], wanted: Capacity) {
  const longest = rows.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  const trace = ({ tokens, targets }: Capacity): Traced & { readonly graph: Graph } => {
    const graph = new Graph(tokens, targets);
    return { graph, ...adapted.trace(graph, { longest, trains: true }) };
  };
  const traced = trace(wanted);
  const fitting = Math.floor(adapted.gpu.traits.maxBinding / widestBytesPerToken(traced.graph));
  if (longest > fitting) throw rowTooLong(longest, fitting);
  if (wanted.tokens <= fitting) return { capacity: wanted, traced };
  const capacity = { tokens: fitting, targets: Math.min(wanted.targets, fitting) };
  return { capacity, traced: trace(capacity) };
}

function rowTooLong(tokens: number, fitting: number): DataError {
  return new DataError(
    "row-too-long",
    `A row has ${tokens} tokens; on this device the widest activation leaves room for ${fitting}.`,
    `Set max_length to ${fitting} or less.`,
  );
}
