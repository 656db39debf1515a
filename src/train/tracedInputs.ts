/** What the host writes before each micro-batch: traced once, written from the laid-out rows. */
import { distinctWindows, type MicroBatchInputs, type Window } from "../data/inputs.ts";
import type { Graph } from "../graph/graph.ts";
import type { Program } from "../graph/program.ts";
import type { Value } from "../graph/value.ts";

export interface TracedInputs {
  readonly ids: Value;
  readonly positions: Value;
  readonly rowInStep: Value;
  /** u32 [2]: what dropout draws from, besides module, row, position and feature. */
  readonly seedStep: Value;
  /** By window of attention; undefined is all of the row. */
  readonly ranges: ReadonlyMap<Window, { readonly keyRange: Value; readonly queryRange: Value }>;
  readonly targetRow: Value;
  readonly targetId: Value;
  readonly targetOfToken: Value;
  /** f32 [1]: 1 / trained tokens of the whole optimizer step. */
  readonly lossScale: Value;
}

export function traceInputs(graph: Graph, slidingWindow: readonly Window[]): TracedInputs {
  const { tokens, targets } = graph;
  const ranges = distinctWindows(slidingWindow).map((window) => {
    const keyRange = graph.input(`keys of a query (window ${window})`, [tokens, 2], "u32");
    const queryRange = graph.input(`queries of a key (window ${window})`, [tokens, 2], "u32");
    return [window, { keyRange, queryRange }] as const;
  });
  return {
    ids: graph.input("ids", [tokens], "u32"),
    positions: graph.input("positions", [tokens], "u32"),
    rowInStep: graph.input("row in step", [tokens], "u32"),
    seedStep: graph.input("seed and step", [2], "u32"),
    ranges: new Map(ranges),
    targetRow: graph.input("target row", [targets], "u32"),
    targetId: graph.input("target id", [targets], "u32"),
    targetOfToken: graph.input("target of token", [tokens], "i32"),
    lossScale: graph.input("loss scale", [1], "f32"),
  };
}

/** Writes a micro-batch, and its counts. What the plan does not read is not written. */
export function writeMicroBatch(program: Program, inputs: TracedInputs, batch: MicroBatchInputs): void {
  const { tokens, targets } = batch;
  program.write(inputs.ids, batch.ids, tokens);
  program.write(inputs.positions, batch.positions, tokens);
  program.write(inputs.rowInStep, batch.rowInStep, tokens);
  program.write(inputs.targetOfToken, batch.targetOfToken, tokens);
  program.write(inputs.targetRow, batch.targetRow, targets);
  program.write(inputs.targetId, batch.targetId, targets);
  for (const { window, keyRange, queryRange } of batch.ranges) {
    const range = inputs.ranges.get(window)!;
    program.write(range.keyRange, keyRange, 2 * tokens);
    program.write(range.queryRange, queryRange, 2 * tokens);
  }
  program.setCounts(batch);
}
