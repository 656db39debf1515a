/** Columns of a product that another weight makes: x·Wᵀ where some rows of W are replaced. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Op, Value } from "../graph/value.ts";
import { add } from "./add.ts";
import { linear } from "./linear.ts";
import { checkReplaced, type ReplacedRows, stackRows, type Weight } from "./weight.ts";

interface Columns {
  readonly graph: Graph;
  readonly columns: Uint32Array;
}

/** z = x·Wᵀ [rows, out] with the columns of W's replaced rows put in, in place of z. x [rows, width]. */
export function replaceColumns(
  graph: Graph,
  x: Value,
  z: Value,
  weight: Weight,
  replaced: ReplacedRows,
): Value {
  checkReplaced(weight, replaced);
  if (widthOf(z) !== weight.rows) {
    throw new ShapeError("shape", `columns: ${z.name} is ${widthOf(z)} wide, expected ${weight.rows}.`);
  }
  const p = linear(graph, x, stackRows(replaced.value.name, [replaced.value]));
  const attributes = { graph, columns: Uint32Array.from(replaced.indices) };
  return graph.record(forward, attributes, [z, p], [{ name: z.name, shape: z.shape, inPlaceOf: 0 }])[0]!;
}

function dispatch(
  { graph, columns }: Columns,
  [z, p]: readonly [Value, Value],
  entry: string,
  bindings: Dispatch["bindings"],
): Dispatch {
  const rows = graph.extentOf(rowsOf(z));
  return {
    kernel: { file: "columns", entry },
    params: { rows_extent: rows.index, width: widthOf(z), count: widthOf(p) },
    bindings: { columns: { table: columns }, ...bindings },
    workgroups: (size) => Math.ceil((size(rows) * widthOf(p)) / 64),
  };
}

const forward: Op<Columns> = {
  name: "columns.forward",
  lower({ attributes, inputs: [, p], outputs: [z] }) {
    return [dispatch(attributes, [z!, p!], "forward", { p, z })];
  },
  backward({ attributes, inputs: [z, p] }, context) {
    const { graph } = attributes;
    const outputs = [
      { name: `d ${z!.name}`, shape: z!.shape, inPlaceOf: 0 },
      { name: `d ${p!.name}`, shape: p!.shape },
    ];
    const [dz, dp] = graph.record(backward, attributes, [context.outputGradient()!], outputs);
    context.give(0, (soFar) => (soFar ? add(graph, soFar, dz!) : dz!));
    context.give(1, (soFar) => (soFar ? add(graph, soFar, dp!) : dp!));
  },
};

const backward: Op<Columns> = {
  name: "columns.backward",
  lower({ attributes, outputs: [dz, dp] }) {
    return [dispatch(attributes, [dz!, dp!], "backward", { dz, dp })];
  },
};
