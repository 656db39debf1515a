/** The one kernel the planner itself may insert: an in-place update whose old value is still needed works on a copy. */
import type { Graph } from "./graph.ts";
import { type Dispatch, maxOf, type Value } from "./value.ts";

const WORKGROUP = 64;

export function copyDispatch(graph: Graph, x: Value, y: Value): Dispatch {
  const [rows, ...rest] = x.shape;
  const width = rest.reduce<number>((product, dim) => product * maxOf(dim), 1);
  const extent = graph.extentOf(rows!);
  return {
    kernel: { file: "copy", entry: "copy" },
    params: { rows_extent: extent.index, width },
    bindings: { x, y },
    workgroups: (size) => Math.ceil((size(extent) * width) / WORKGROUP),
  };
}
