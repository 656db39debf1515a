/** Rows of a frozen table, by token id. */
import { GraftError, ShapeError } from "../base/errors.ts";
import { type Graph, widthOf } from "../graph/graph.ts";
import type { Dim, Op, Value } from "../graph/value.ts";
import { add } from "./add.ts";
import { formatOf, type Weight } from "./weight.ts";

interface Embedding {
  readonly graph: Graph;
  readonly weight: Weight;
}

/**
 * ids [tokens] u32, all below `weight.rows`, and soFar [tokens, width] where given → weight[id] + soFar.
 * GPT-2 adds its table of positions to that of tokens so.
 */
export function embedding(graph: Graph, ids: Value, weight: Weight, soFar?: Value): Value {
  const [tokens] = ids.shape;
  if (tokens === undefined || ids.shape.length !== 1 || ids.dtype !== "u32") {
    throw new ShapeError(
      "shape",
      `embedding ${weight.name}: ${ids.name} is ${ids.dtype} with ${ids.shape.length} dimensions, expected [tokens] u32.`,
    );
  }
  if (soFar && (widthOf(soFar) !== weight.width || soFar.shape[0] !== tokens)) {
    throw new ShapeError(
      "shape",
      `embedding ${weight.name}: ${soFar.name} differs in shape from [${ids.name}, ${weight.width}].`,
    );
  }
  if (weight.slices.some((slice) => slice.value.requiresGrad)) {
    throw new GraftError(
      "embedding-trained",
      `${weight.name} is trained, but an embedding passes no gradient to its table.`,
      "Freeze it.",
    );
  }
  const inputs = [ids, soFar, ...weight.slices.map((slice) => slice.value)];
  const shape: Dim[] = [tokens, weight.width];
  return graph.record(forward, { graph, weight }, inputs, [
    { name: `${weight.name}[${ids.name}]`, shape },
  ])[0]!;
}

const forward: Op<Embedding> = {
  name: "embedding.forward",
  lower({ attributes: { graph, weight }, inputs: [ids, soFar], outputs: [y] }) {
    const rows = graph.extentOf(ids!.shape[0]!);
    return weight.slices.map((slice) => ({
      kernel: { file: "embedding", entry: "forward", weights: formatOf(slice) },
      params: {
        rows_extent: rows.index,
        width: weight.width,
        row_start: slice.rowStart,
        slice_rows: slice.rows,
        has_so_far: soFar ? 1 : 0,
      },
      bindings: { ids, so_far: soFar, y, weights: slice.value },
      workgroups: (size) => Math.ceil((size(rows) * weight.width) / 64),
    }));
  },
  backward({ attributes: { graph } }, context) {
    const dy = context.outputGradient()!;
    context.give(1, (soFar) => (soFar ? add(graph, soFar, dy) : dy));
  },
};
