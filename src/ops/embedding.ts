/** Rows of a table, by token id. The table may train, whole or in some of its rows. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, widthOf } from "../graph/graph.ts";
import type { Dim, Dispatch, Op, Value } from "../graph/value.ts";
import { add } from "./add.ts";
import { checkReplaced, formatOf, type ReplacedRows, type Weight, type WeightSlice } from "./weight.ts";

/** Rows of the table in one buffer, by their ids from `rowStart` on, or as `listed` pairs them. */
interface Part extends WeightSlice {
  /** (id, row of the part) ascending in ids, for rows that stand in the place of others. */
  readonly listed?: Uint32Array;
}

interface Embedding {
  readonly graph: Graph;
  readonly width: number;
  readonly parts: readonly Part[];
}

interface EmbeddingInputs {
  /** Added to the result [tokens, width]: GPT-2 adds its table of positions to that of tokens so. */
  readonly soFar?: Value | undefined;
  /** Rows that stand in the place of the table's own. */
  readonly replaced?: ReplacedRows | undefined;
}

/** ids [tokens] u32, all below `weight.rows` → weight[id] + soFar. */
export function embedding(graph: Graph, ids: Value, weight: Weight, options: EmbeddingInputs = {}): Value {
  const { soFar, replaced } = options;
  const { name, width, slices } = weight;
  const [tokens] = ids.shape;
  if (tokens === undefined || ids.shape.length !== 1 || ids.dtype !== "u32") {
    throw new ShapeError(
      "shape",
      `embedding ${name}: ${ids.name} is ${ids.dtype} with ${ids.shape.length} dimensions, expected [tokens] u32.`,
    );
  }
  if (soFar && (widthOf(soFar) !== width || soFar.shape[0] !== tokens)) {
    throw new ShapeError(
      "shape",
      `embedding ${name}: ${soFar.name} differs in shape from [${ids.name}, ${width}].`,
    );
  }
  const parts: Part[] = [...slices];
  if (replaced) {
    checkReplaced(weight, replaced);
    const { indices, value } = replaced;
    parts.push({ rowStart: 0, rows: indices.length, value, listed: listedRows(indices) });
  }
  const inputs = [ids, soFar, ...parts.map(({ value }) => value)];
  const shape: Dim[] = [tokens, width];
  return graph.record(forward, { graph, width, parts }, inputs, [
    { name: `${name}[${ids.name}]`, shape },
  ])[0]!;
}

/** (id, row) for each row, ascending in ids. */
function listedRows(indices: readonly number[]): Uint32Array {
  const rows = indices.map((id, row) => [id, row] as const).sort(([a], [b]) => a - b);
  return Uint32Array.from(rows.flat());
}

const LANES = 64;

function dispatch(
  { graph, width }: Embedding,
  ids: Value,
  entry: string,
  part: Part | undefined,
  bindings: Dispatch["bindings"],
): Dispatch {
  const rows = graph.extentOf(ids.shape[0]!);
  return {
    kernel: { file: "embedding", entry, weights: part ? formatOf(part) : "f32" },
    params: {
      rows_extent: rows.index,
      width,
      row_start: part?.rowStart ?? 0,
      slice_rows: part?.rows ?? 0,
      listed_count: part?.listed ? part.rows : 0,
      has_so_far: bindings.so_far ? 1 : 0,
    },
    bindings: { ids, listed: part?.listed && { table: part.listed }, ...bindings },
    workgroups: (size) => Math.ceil((size(rows) * (part ? width : 1)) / LANES),
  };
}

const forward: Op<Embedding> = {
  name: "embedding.forward",
  lower({ attributes, inputs: [ids, soFar], outputs: [y] }) {
    return attributes.parts.map((part) =>
      dispatch(attributes, ids!, "forward", part, { so_far: soFar, y, weights: part.value }),
    );
  },
  backward({ attributes, inputs: [ids] }, context) {
    const { graph, parts } = attributes;
    const dy = context.outputGradient()!;
    context.give(1, (soFar) => (soFar ? add(graph, soFar, dy) : dy));
    const trained = parts.filter(({ value }) => value.gradient);
    if (trained.length === 0) return;
    const output = { name: `links of ${ids!.name}`, shape: [ids!.shape[0]!, 2], dtype: "u32" as const };
    const [links] = graph.record(link, attributes, [ids], [output]);
    for (const part of trained) {
      const gradient = part.value.gradient!;
      graph.record(backwardTable, { ...attributes, part }, [ids, links, dy, gradient], [], {
        mutates: [gradient],
      });
    }
  },
};

const link: Op<Embedding> = {
  name: "embedding.link",
  lower({ attributes, inputs: [ids], outputs: [links] }) {
    return [dispatch(attributes, ids!, "link", undefined, { links_out: links })];
  },
};

const backwardTable: Op<Embedding & { readonly part: Part }> = {
  name: "embedding.backwardTable",
  lower({ attributes, inputs: [ids, links, dy, dtable] }) {
    return [dispatch(attributes, ids!, "backward_table", attributes.part, { links, dy, dtable })];
  },
};
