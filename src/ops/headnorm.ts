/** Per-head root-mean-square norm of queries and keys (Qwen3's q_norm and k_norm) inside a fused projection. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";
import { rowLanes } from "./tiles.ts";

export interface HeadNormOptions {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly eps: number;
}

interface HeadNorm extends HeadNormOptions {
  readonly graph: Graph;
}

/** Features that one workgroup of backward_gain sums. */
const COLUMNS = 8;

/**
 * qkv [tokens, (heads + 2 · keyValueHeads) · headDim], heads of q, then k, then v → the same with each q head
 * normed and scaled by gainQ [headDim], each k head by gainK, and v as it was.
 */
export function headNorm(
  graph: Graph,
  qkv: Value,
  gainQ: Value,
  gainK: Value,
  options: HeadNormOptions,
): Value {
  const { heads, keyValueHeads, headDim } = options;
  if (widthOf(qkv) !== (heads + 2 * keyValueHeads) * headDim) {
    throw new ShapeError(
      "shape",
      `headnorm: ${qkv.name} is ${widthOf(qkv)} wide, expected (${heads} + 2 · ${keyValueHeads}) heads of ${headDim}.`,
    );
  }
  for (const gain of [gainQ, gainK]) {
    if (widthOf(gain) !== headDim) {
      throw new ShapeError("shape", `headnorm: ${gain.name} is [${gain.shape}], expected [${headDim}].`);
    }
  }
  const rows = rowsOf(qkv);
  return graph.record(
    forward,
    { graph, ...options },
    [qkv, gainQ, gainK],
    [
      { name: `${qkv.name} · headnorm`, shape: qkv.shape },
      { name: `${qkv.name} · r`, shape: [rows, heads + keyValueHeads] },
    ],
  )[0]!;
}

/** `over`: the heads of backward_gain, whose workgroups run over features; the others, of `lanes`, run over heads. */
function dispatch(
  node: Node<HeadNorm>,
  entry: string,
  bindings: Dispatch["bindings"],
  {
    soFar,
    over,
    lanes,
  }: { soFar?: Value | undefined; over?: readonly [number, number]; lanes?: number } = {},
): Dispatch {
  const { graph, heads, keyValueHeads, headDim, eps } = node.attributes;
  const rows = graph.extentOf(rowsOf(node.inputs[0]!));
  return {
    kernel: { file: "headnorm", entry, ...(lanes ? { overrides: { LANES: lanes } } : {}) },
    params: {
      rows_extent: rows.index,
      heads,
      kv_heads: keyValueHeads,
      head_dim: headDim,
      first_head: over?.[0] ?? 0,
      summed_heads: over?.[1] ?? 0,
      has_so_far: soFar ? 1 : 0,
      eps,
    },
    bindings,
    workgroups: (size) => (over ? Math.ceil(headDim / COLUMNS) : size(rows) * (heads + 2 * keyValueHeads)),
  };
}

const forward: Op<HeadNorm> = {
  name: "headnorm.forward",
  lower(node, traits) {
    const [x, gainQ, gainK] = node.inputs;
    const [y, r] = node.outputs;
    const bindings = { x, gain_q: gainQ, gain_k: gainK, y, r_out: r };
    return [dispatch(node, "forward", bindings, { lanes: rowLanes(traits) })];
  },
  backward(node, context) {
    const { graph } = node.attributes;
    const [x, gainQ, gainK] = node.inputs as [Value, Value, Value];
    const r = node.outputs[1]!;
    const dy = context.outputGradient()!;
    for (const [index, op] of [
      [1, backwardGainQ],
      [2, backwardGainK],
    ] as const) {
      if (!context.wants(index)) continue;
      const dgain = context.gradientOf(index);
      graph.record(op, node.attributes, [x, r, dy, dgain], [], { mutates: [dgain] });
    }
    context.give(0, (soFar) => {
      const inputs = [x, gainQ, gainK, r, dy, soFar];
      return graph.record(backwardInput, node.attributes, inputs, [
        { name: `d ${x.name}`, shape: x.shape },
      ])[0]!;
    });
  },
};

const backwardInput: Op<HeadNorm> = {
  name: "headnorm.backwardInput",
  lower(node, traits) {
    const [x, gainQ, gainK, r, dy, soFar] = node.inputs;
    const [dx] = node.outputs;
    const bindings = { x, gain_q: gainQ, gain_k: gainK, r, dy, so_far: soFar, dx };
    return [dispatch(node, "backward_input", bindings, { soFar, lanes: rowLanes(traits) })];
  },
};

const backwardGainQ: Op<HeadNorm> = {
  name: "headnorm.backwardGainQ",
  lower(node) {
    const [x, r, dy, dgain] = node.inputs;
    return [dispatch(node, "backward_gain", { x, r, dy, dgain }, { over: [0, node.attributes.heads] })];
  },
};

const backwardGainK: Op<HeadNorm> = {
  name: "headnorm.backwardGainK",
  lower(node) {
    const [x, r, dy, dgain] = node.inputs;
    const { heads, keyValueHeads } = node.attributes;
    return [dispatch(node, "backward_gain", { x, r, dy, dgain }, { over: [heads, keyValueHeads] })];
  },
};
