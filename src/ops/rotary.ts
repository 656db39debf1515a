/** Rotary position embedding (Su et al. 2021) in Llama's arrangement: feature i is paired with i + headDim / 2. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";
import { add } from "./add.ts";

/** The heads that are turned: the first `heads · headDim` columns. */
export interface RotaryHeads {
  readonly heads: number;
  readonly headDim: number;
}

interface Rotary extends RotaryHeads {
  readonly graph: Graph;
}

/**
 * Turns the first heads of each row of x [rows, width] by the angles of its position, in place; the columns
 * beyond stay. positions [rows] u32; cos, sin [max positions, headDim / 2], read by position.
 */
export function rotary(
  graph: Graph,
  x: Value,
  { heads, headDim }: RotaryHeads,
  positions: Value,
  cos: Value,
  sin: Value,
): Value {
  const width = widthOf(x);
  if (heads * headDim > width) {
    throw new ShapeError(
      "shape",
      `rotary: ${heads} heads of ${headDim} do not fit into ${x.name}, which is ${width} wide.`,
    );
  }
  for (const table of [cos, sin]) {
    if (headDim % 2 !== 0 || widthOf(table) !== headDim / 2) {
      throw new ShapeError(
        "shape",
        `rotary: ${table.name} is [${table.shape}], expected [positions, ${headDim / 2}] for heads of ${headDim}.`,
      );
    }
  }
  return graph.record(
    forward,
    { graph, heads, headDim },
    [x, positions, cos, sin],
    [{ name: `${x.name} · rotary`, shape: x.shape, inPlaceOf: 0 }],
  )[0]!;
}

function dispatch(node: Node<Rotary>, entry: string): Dispatch {
  const [, positions, cos, sin] = node.inputs;
  const [x] = node.outputs as [Value];
  const { graph, heads, headDim } = node.attributes;
  const rows = graph.extentOf(rowsOf(x));
  return {
    kernel: { file: "rotary", entry },
    params: { rows_extent: rows.index, width: widthOf(x), heads, head_dim: headDim },
    bindings: { x, positions, cos_table: cos, sin_table: sin },
    workgroups: (size) => Math.ceil((size(rows) * heads * (headDim / 2)) / 64),
  };
}

const forward: Op<Rotary> = {
  name: "rotary.forward",
  lower: (node) => [dispatch(node, "forward")],
  backward(node, context) {
    const { graph } = node.attributes;
    const [x, positions, cos, sin] = node.inputs as [Value, Value, Value, Value];
    const dy = context.outputGradient()!;
    context.give(0, (soFar) => {
      const outputs = [{ name: `d ${x.name}`, shape: x.shape, inPlaceOf: 0 }];
      const dx = graph.record(backward, node.attributes, [dy, positions, cos, sin], outputs)[0]!;
      return soFar ? add(graph, soFar, dx) : dx;
    });
  },
};

const backward: Op<Rotary> = {
  name: "rotary.backward",
  lower: (node) => [dispatch(node, "backward")],
};
