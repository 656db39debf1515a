/**
 * The loss: only trained rows go through the head, chunk by chunk, and a chunk's gradient is taken while its logits
 * are there. So the head is read twice, and no tensor [tokens, vocabulary] ever exists.
 */
import { ShapeError } from "../base/errors.ts";
import { differentiate, markLoss } from "../graph/backward.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import { type Dim, type Dispatch, type Extent, maxOf, type Op, type Value } from "../graph/value.ts";
import { vocabularyLanes } from "./tiles.ts";

export interface CrossEntropyOperands {
  /** Input u32 [targets]: the flat token whose hidden state predicts the target. A token predicts one at most. */
  readonly targetRow: Value;
  /** Input u32 [targets]: the token that is right. */
  readonly targetId: Value;
  /** Input i32 [tokens]: which target a token predicts, or −1. */
  readonly targetOfToken: Value;
  /** Input f32 [1]: what a row's gradient is multiplied by, 1 / trained tokens of the whole optimizer step. */
  readonly lossScale: Value;
  /** The step's scalars; this micro-batch's nats, entropy and right targets are added to their sums. */
  readonly scalars: Value;
  /** False for evaluation: no gradient is taken and no buffer made for one. */
  readonly withGradient: boolean;
  /** Bytes that a chunk's logits may take; at most what the device binds. */
  readonly chunkBytes?: number | undefined;
}

/** Bytes that a chunk's logits take by default. */
export const CHUNK_BYTES = 64 * 2 ** 20;
/** Each chunk is an extent of its own, and a plan has room for 256 in all. */
const MAX_CHUNKS = 200;
const LANES = 256;

interface Attributes {
  readonly graph: Graph;
  /** The rows that a launch is about. */
  readonly rows: Dim;
  /** The chunk's first target. */
  readonly start: number;
}

/** What turns hidden states into logits: a product, with a low-rank path beside it or without. */
export interface Head {
  readonly vocabulary: number;
  /**
   * rows [rows, width] → [rows, vocabulary]. `pick` gives these rows' share of what there is for each token of the
   * micro-batch, u32 [tokens] → u32 [rows]; only training has it.
   */
  logits(rows: Value, pick?: (ofToken: Value) => Value): Value;
}

/** hidden [tokens, width] → loss [1], Σ nats over this micro-batch's targets. */
export function crossEntropy(graph: Graph, hidden: Value, head: Head, operands: CrossEntropyOperands): Value {
  const {
    targetRow,
    targetId,
    targetOfToken,
    lossScale,
    scalars,
    withGradient,
    chunkBytes = CHUNK_BYTES,
  } = operands;
  checkShapes(hidden, operands);
  const targets = targetRow.shape[0]!;
  const width = widthOf(hidden);
  const intoHidden = withGradient && hidden.requiresGrad;

  let scores: Value | undefined;
  let drowsAll: Value | undefined;
  let start = 0;
  for (const chunk of chunksOf(graph, maxOf(targets), 4 * head.vocabulary, chunkBytes)) {
    const at: Attributes = { graph, rows: chunk, start };
    const from = graph.nodes.length;
    const gathered = { name: "trained rows", shape: [chunk, width] };
    const options = { requiresGrad: intoHidden };
    const rows = graph.record(gather, at, [hidden, targetRow], [gathered], options)[0]!;
    const logits = head.logits(rows, (ofToken) => {
      const index = { name: `${ofToken.name} of trained rows`, shape: [chunk], dtype: "u32" as const };
      return graph.record(gatherIndex, at, [ofToken, targetRow], [index])[0]!;
    });
    const scoreOutputs = [
      { name: "scores", shape: [targets, 4], ...(scores ? { inPlaceOf: 2 } : {}) },
      { name: "softmax statistics", shape: [chunk, 4] },
    ];
    const [written, statistics] = graph.record(rowLoss, at, [logits, targetId, scores], scoreOutputs);
    scores = written;
    if (withGradient && logits.requiresGrad) {
      const output = { name: "d logits", shape: logits.shape, inPlaceOf: 0 };
      const dlogits = graph.record(rowGradient, at, [logits, targetId, statistics, lossScale], [output])[0]!;
      const drows = differentiate(graph, new Map([[logits, dlogits]]), from).get(rows);
      if (drows) {
        const all = {
          name: "d trained rows",
          shape: [targets, width],
          ...(drowsAll ? { inPlaceOf: 1 } : {}),
        };
        [drowsAll] = graph.record(collect, at, [drows, drowsAll], [all]);
      }
    }
    start += chunk.max;
  }

  const inputs = [hidden, scores, scalars, drowsAll, targetOfToken];
  const options = { mutates: [scalars] };
  const loss = graph.record(
    total,
    { graph, rows: targets, start: 0 },
    inputs,
    [{ name: "loss", shape: [1] }],
    options,
  )[0]!;
  // Its backward only brings home what the sweep has made; where that is nothing there is none to run.
  if (intoHidden) markLoss(loss);
  return loss;
}

/** The rows of hidden [tokens, width] that `targetRow` (u32 [targets]) names → [targets, width]. No gradient passes. */
export function gatherRows(graph: Graph, hidden: Value, targetRow: Value): Value {
  const rows = targetRow.shape[0]!;
  const output = { name: `rows of ${hidden.name}`, shape: [rows, widthOf(hidden)] };
  return graph.record(gather, { graph, rows, start: 0 }, [hidden, targetRow], [output])[0]!;
}

/** Cuts the targets into chunks of rows that fit a byte budget, each with its own live size. */
function chunksOf(graph: Graph, targets: number, rowBytes: number, chunkBytes: number): Extent[] {
  const rows = Math.max(1, Math.floor(chunkBytes / rowBytes), Math.ceil(targets / MAX_CHUNKS));
  return Array.from({ length: Math.ceil(targets / rows) }, (_, i) => {
    const start = i * rows;
    const max = Math.min(rows, targets - start);
    const name = `targets from ${start} to ${start + max}`;
    const live = (count: number): number => Math.min(Math.max(count - start, 0), max);
    // A second loss over the same targets is cut alike.
    const known = graph.extents.find((extent) => extent.name === name);
    return known ?? graph.extent(name, max, (counts) => live(counts.targets));
  });
}

function checkShapes(hidden: Value, operands: CrossEntropyOperands): void {
  const { targetRow, targetId, targetOfToken } = operands;
  if (targetOfToken.shape[0] !== rowsOf(hidden) || targetId.shape[0] !== targetRow.shape[0]) {
    throw new ShapeError(
      "shape",
      "crossentropy: the index inputs do not count the tokens and targets of the plan.",
    );
  }
}

interface Launch {
  readonly entry: string;
  readonly overrides?: Record<string, number>;
  readonly width: number;
  readonly soFar?: Value | undefined;
  readonly bindings: Dispatch["bindings"];
  readonly workgroups: (rows: number) => number;
}

function launch(
  { graph, rows, start }: Attributes,
  { entry, overrides, width, soFar, bindings, workgroups }: Launch,
): Dispatch {
  return {
    kernel: { file: "crossentropy", entry, ...(overrides ? { overrides } : {}) },
    params: { rows_extent: graph.extentOf(rows).index, start, width, has_so_far: soFar ? 1 : 0 },
    bindings,
    workgroups: (size) => workgroups(size(rows)),
  };
}

/** One invocation an element. */
const elementwise =
  (width: number) =>
  (rows: number): number =>
    Math.ceil((rows * width) / LANES);

const gather: Op<Attributes> = {
  name: "crossentropy.gather",
  lower(node) {
    const [hidden, targetRow] = node.inputs;
    const width = widthOf(hidden!);
    const bindings = { hidden, target_row: targetRow, rows_out: node.outputs[0] };
    return [launch(node.attributes, { entry: "gather", width, bindings, workgroups: elementwise(width) })];
  },
};

const gatherIndex: Op<Attributes> = {
  name: "crossentropy.gatherIndex",
  lower(node) {
    const [ofToken, targetRow] = node.inputs;
    const bindings = { of_token: ofToken, target_row: targetRow, index_out: node.outputs[0] };
    const workgroups = elementwise(1);
    return [launch(node.attributes, { entry: "gather_index", width: 1, bindings, workgroups })];
  },
};

const rowLoss: Op<Attributes> = {
  name: "crossentropy.rowLoss",
  lower(node, traits) {
    const [logits, targetId] = node.inputs;
    const [scores, statistics] = node.outputs;
    const bindings = { logits, target_id: targetId, scores_out: scores, statistics_out: statistics };
    return [
      launch(node.attributes, {
        entry: "row_loss",
        overrides: { ROW_LANES: vocabularyLanes(traits) },
        width: widthOf(logits!),
        bindings,
        workgroups: (rows) => rows,
      }),
    ];
  },
};

const rowGradient: Op<Attributes> = {
  name: "crossentropy.rowGradient",
  lower(node) {
    const [logits, targetId, statistics, lossScale] = node.inputs;
    const width = widthOf(logits!);
    const bindings = { dlogits: node.outputs[0], target_id: targetId, statistics, loss_scale: lossScale };
    return [
      launch(node.attributes, { entry: "row_gradient", width, bindings, workgroups: elementwise(width) }),
    ];
  },
};

const collect: Op<Attributes> = {
  name: "crossentropy.collect",
  lower(node) {
    const drows = node.inputs[0]!;
    const width = widthOf(drows);
    const bindings = { drows, drows_all_out: node.outputs[0] };
    return [launch(node.attributes, { entry: "collect", width, bindings, workgroups: elementwise(width) })];
  },
};

const total: Op<Attributes> = {
  name: "crossentropy.total",
  lower(node) {
    const [, scores, scalars] = node.inputs;
    const bindings = { scores, loss: node.outputs[0], scalars };
    return [launch(node.attributes, { entry: "total", width: 1, bindings, workgroups: () => 1 })];
  },
  backward(node, context) {
    const { graph } = node.attributes;
    const [hidden, , , drowsAll, targetOfToken] = node.inputs;
    if (!hidden || !drowsAll) return;
    context.give(0, (soFar) => {
      const attributes: Attributes = { graph, rows: rowsOf(hidden), start: 0 };
      const output = { name: `d ${hidden.name}`, shape: hidden.shape };
      return graph.record(backwardHidden, attributes, [drowsAll, targetOfToken, soFar], [output])[0]!;
    });
  },
};

const backwardHidden: Op<Attributes> = {
  name: "crossentropy.backwardHidden",
  lower(node) {
    const [drowsAll, targetOfToken, soFar] = node.inputs;
    const dhidden = node.outputs[0]!;
    const width = widthOf(dhidden);
    const bindings = { drows_all: drowsAll, target_of_token: targetOfToken, so_far: soFar, dhidden };
    return [
      launch(node.attributes, {
        entry: "backward_hidden",
        width,
        soFar,
        bindings,
        workgroups: elementwise(width),
      }),
    ];
  },
};
