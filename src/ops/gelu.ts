/** Gaussian error linear unit (Hendrycks & Gimpel 2016), exact by erf or in the tanh approximation that GPT-2 has. */
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";

export type GeluKind = "exact" | "tanh";

interface Gelu {
  readonly graph: Graph;
  readonly kind: GeluKind;
}

/** x [rows, width] → gelu(x), elementwise. */
export function gelu(graph: Graph, x: Value, kind: GeluKind): Value {
  return graph.record(forward, { graph, kind }, [x], [{ name: `gelu ${x.name}`, shape: x.shape }])[0]!;
}

function dispatch(node: Node<Gelu>, entry: string, bindings: Dispatch["bindings"], soFar?: Value): Dispatch {
  const { graph, kind } = node.attributes;
  const x = node.inputs[0]!;
  const width = widthOf(x);
  const rows = graph.extentOf(rowsOf(x));
  return {
    kernel: { file: "gelu", entry },
    params: { rows_extent: rows.index, width, exact: kind === "exact" ? 1 : 0, has_so_far: soFar ? 1 : 0 },
    bindings,
    workgroups: (size) => Math.ceil((size(rows) * width) / 64),
  };
}

const forward: Op<Gelu> = {
  name: "gelu.forward",
  lower: (node) => [dispatch(node, "forward", { x: node.inputs[0], y: node.outputs[0] })],
  backward(node, context) {
    const { graph } = node.attributes;
    const x = node.inputs[0]!;
    const dy = context.outputGradient()!;
    context.give(0, (soFar) => {
      const output = { name: `d ${x.name}`, shape: x.shape };
      return graph.record(backwardInput, node.attributes, [x, dy, soFar], [output])[0]!;
    });
  },
};

const backwardInput: Op<Gelu> = {
  name: "gelu.backwardInput",
  lower(node) {
    const [x, dy, soFar] = node.inputs;
    return [dispatch(node, "backward_input", { x, dy, so_far: soFar, dx: node.outputs[0] }, soFar)];
  },
};
