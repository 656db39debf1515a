/** Keys and values of earlier tokens, kept across steps so that a new token computes only itself. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Op, Value } from "../graph/value.ts";

interface Append {
  readonly graph: Graph;
  readonly start: number;
}

/**
 * Writes the columns of x [rows, width] from `start` on into rows `slots` (u32 [rows]) of `cache`, a state
 * [slots, cache width] that lives across steps. What is traced after this sees it written.
 */
export function appendToCache(graph: Graph, cache: Value, slots: Value, x: Value, start: number): void {
  const width = widthOf(cache);
  if (cache.kind !== "state" || start + width > widthOf(x)) {
    throw new ShapeError(
      "shape",
      `cache ${cache.name}: ${width} columns from column ${start} of ${x.name}, which is ${widthOf(x)} wide, into a ${cache.kind}.`,
    );
  }
  if (slots.dtype !== "u32" || slots.shape.length !== 1 || slots.shape[0] !== rowsOf(x)) {
    throw new ShapeError("shape", `cache ${cache.name}: ${slots.name} is not u32 with a slot for each row.`);
  }
  graph.record(append, { graph, start }, [x, slots, cache], [], { mutates: [cache] });
}

const append: Op<Append> = {
  name: "cache.append",
  lower({ attributes: { graph, start }, inputs }) {
    const [x, slot, cache] = inputs as [Value, Value, Value];
    const rows = graph.extentOf(rowsOf(x));
    const width = widthOf(cache);
    return [
      {
        kernel: { file: "cache", entry: "append" },
        params: { rows_extent: rows.index, x_width: widthOf(x), start, width },
        bindings: { x, slot, cache },
        workgroups: (size) => Math.ceil((size(rows) * width) / 64),
      },
    ];
  },
};
