/** LoRA on an embedding: what it adds to a token's row is a column of A, turned by B. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";
import { type LowRank, upPath } from "./lora.ts";

interface Lookup {
  readonly graph: Graph;
  /** [rank, count] */
  readonly a: Value;
}

const LANES = 64;

/** y + s·A[:, id]ᵀ·Bᵀ. ids [rows] u32, all below A's width; y [rows, B's rows], in place of y. */
export function embeddingPath(
  graph: Graph,
  ids: Value,
  y: Value,
  module: Pick<LowRank, "a" | "b" | "scale">,
  scales: Value,
): Value {
  const { a } = module;
  const [rank, count] = a.shape as readonly [number, number];
  const rows = rowsOf(y);
  if (ids.dtype !== "u32" || ids.shape.length !== 1 || ids.shape[0] !== rows) {
    throw new ShapeError("shape", `lora ${a.name}: ${ids.name} is not one u32 for each row of ${y.name}.`);
  }
  const output = { name: `${a.name} · ${ids.name}`, shape: [rows, rank] };
  const [p] = graph.record(forward, { graph, a }, [ids, a], [output]);
  return upPath(graph, p!, y, [{ ...module, rowStart: 0, rows: widthOf(y) }], { scales, width: count });
}

function dispatch(
  { attributes: { graph, a }, inputs: [ids] }: Node<Lookup>,
  entry: string,
  bindings: Dispatch["bindings"],
): Dispatch {
  const rows = graph.extentOf(ids!.shape[0]!);
  const [rank, count] = a.shape as readonly [number, number];
  return {
    kernel: { file: "lora_embedding", entry },
    params: { rows_extent: rows.index, rank, count, a: a.place!.byteOffset / 4 },
    bindings: { ids, ...bindings },
    workgroups: (size) => Math.ceil((size(rows) * (entry === "forward" ? rank : 1)) / LANES),
  };
}

const forward: Op<Lookup> = {
  name: "loraEmbedding.forward",
  lower: (node) => [dispatch(node, "forward", { arena: { whole: node.attributes.a }, p: node.outputs[0] })],
  backward(node, context) {
    const { graph } = node.attributes;
    const da = context.gradientOf(1);
    const inputs = [node.inputs[0], context.outputGradient()!, da];
    graph.record(backwardA, node.attributes, inputs, [], { mutates: [da] });
  },
};

const backwardA: Op<Lookup> = {
  name: "loraEmbedding.backwardA",
  lower: (node) => [
    dispatch(node, "backward_a", { gradients: { whole: node.mutates[0]! }, dp: node.inputs[1] }),
  ],
};
