/** The gated unit of Llama's feed-forward (Shazeer 2020, "GLU variants improve transformer"). */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";

interface SwiGlu {
  readonly graph: Graph;
}

/** gateUp [rows, 2 · ff], gate | up → silu(gate) ⊙ up [rows, ff]. */
export function swiglu(graph: Graph, gateUp: Value): Value {
  const width = widthOf(gateUp) / 2;
  if (!Number.isInteger(width)) {
    throw new ShapeError(
      "shape",
      `swiglu: ${gateUp.name} is ${2 * width} wide, expected gate and up side by side.`,
    );
  }
  const output = { name: `swiglu ${gateUp.name}`, shape: [rowsOf(gateUp), width] };
  return graph.record(forward, { graph }, [gateUp], [output])[0]!;
}

function dispatch(
  node: Node<SwiGlu>,
  entry: string,
  bindings: Dispatch["bindings"],
  soFar?: Value,
): Dispatch {
  const gateUp = node.inputs[0]!;
  const width = widthOf(gateUp) / 2;
  const rows = node.attributes.graph.extentOf(rowsOf(gateUp));
  return {
    kernel: { file: "swiglu", entry },
    params: { rows_extent: rows.index, width, has_so_far: soFar ? 1 : 0 },
    bindings,
    workgroups: (size) => Math.ceil((size(rows) * width) / 64),
  };
}

const forward: Op<SwiGlu> = {
  name: "swiglu.forward",
  lower: (node) => [dispatch(node, "forward", { gate_up: node.inputs[0], y: node.outputs[0] })],
  backward(node, context) {
    const { graph } = node.attributes;
    const gateUp = node.inputs[0]!;
    const dy = context.outputGradient()!;
    context.give(0, (soFar) => {
      const output = { name: `d ${gateUp.name}`, shape: gateUp.shape };
      return graph.record(backwardInput, node.attributes, [gateUp, dy, soFar], [output])[0]!;
    });
  },
};

const backwardInput: Op<SwiGlu> = {
  name: "swiglu.backwardInput",
  lower(node) {
    const [gateUp, dy, soFar] = node.inputs;
    const bindings = { gate_up: gateUp, dy, so_far: soFar, dgate_up: node.outputs[0] };
    return [dispatch(node, "backward_input", bindings, soFar)];
  },
};
