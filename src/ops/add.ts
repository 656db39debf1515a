/** y = a + b, elementwise. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Op, Value } from "../graph/value.ts";

interface Add {
  readonly graph: Graph;
}

/** a, b [rows, width] → a + b. */
export function add(graph: Graph, a: Value, b: Value): Value {
  if (widthOf(a) !== widthOf(b) || rowsOf(a) !== rowsOf(b)) {
    throw new ShapeError("shape", `add: ${a.name} and ${b.name} differ in shape.`);
  }
  return graph.record(forward, { graph }, [a, b], [{ name: `${a.name} + ${b.name}`, shape: a.shape }])[0]!;
}

const forward: Op<Add> = {
  name: "add.forward",
  lower(node) {
    const [a, b] = node.inputs as [Value, Value];
    const width = widthOf(a);
    const rows = node.attributes.graph.extentOf(rowsOf(a));
    return [
      {
        kernel: { file: "add", entry: "forward" },
        params: { rows_extent: rows.index, width },
        bindings: { a, b, y: node.outputs[0] },
        workgroups: (size) => Math.ceil((size(rows) * width) / 64),
      },
    ];
  },
  backward(node, context) {
    const dy = context.outputGradient()!;
    for (const index of [0, 1]) {
      context.give(index, (soFar) => (soFar ? add(node.attributes.graph, soFar, dy) : dy));
    }
  },
};
