/** Scaled dot-product attention over one range of keys per query, by an online softmax (Dao et al. 2022). */
import { ShapeError } from "../base/errors.ts";
import type { DeviceClass, DeviceTraits } from "../gpu/device.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { BackwardContext, Columns, Dim, Dispatch, Node, Op, Value } from "../graph/value.ts";
import { add } from "./add.ts";

export interface AttentionOperands {
  /** [queries, width]; the query heads are heads · headDim columns from `start`. */
  readonly q: { readonly value: Value; readonly start: number };
  /** [keys, width]; keyValueHeads · headDim columns each. May be the value that holds the queries too. */
  readonly kv: { readonly value: Value; readonly keyStart: number; readonly valueStart: number };
  readonly heads: number;
  /** Divides `heads`; query head h looks at key head floor(h · keyValueHeads / heads). */
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** Of the scores; usually 1 / sqrt(headDim). */
  readonly scale: number;
  /** u32 [queries, 2]: query i sees the keys [first, end). */
  readonly keyRange: Value;
  /** u32 [keys, 2]: its mirror, key j is seen by queries in [first, end) only. Needed where a gradient is. */
  readonly queryRange?: Value | undefined;
}

interface Attention extends AttentionOperands {
  readonly graph: Graph;
}

type TiledPass = "forward" | "backward_query" | "backward_key";

interface Tiling {
  /** Whether an invocation's sums lie in memory, or in registers. */
  readonly sumsInMemory: boolean;
  /** The most features that an invocation keeps sums of in registers, in fours: at most 8, backward_key's 4. */
  readonly quads: Readonly<Record<TiledPass, number>>;
  readonly lanes: number;
}

/** What each form is for stands in shaders/attention.wgsl. Two sums a feature make backward_key's slice narrower. */
const attentionTilings: Readonly<Record<DeviceClass, Tiling>> = {
  software: { sumsInMemory: true, quads: { forward: 8, backward_query: 8, backward_key: 4 }, lanes: 8 },
  gpu: { sumsInMemory: false, quads: { forward: 8, backward_query: 8, backward_key: 4 }, lanes: 64 },
};

/** y_i = Σ_j softmax_j(scale · q_i · k_j) v_j over the keys j in keyRange[i] → [queries, heads · headDim]. */
export function attention(graph: Graph, operands: AttentionOperands): Value {
  const { q, kv, heads, keyRange, queryRange } = operands;
  check(operands);
  const inputs = [q.value, kv.value, keyRange, queryRange];
  return graph.record(forward, { graph, ...operands }, inputs, [
    { name: `attention ${q.value.name}`, shape: [rowsOf(q.value), heads * operands.headDim] },
    { name: `attention ${q.value.name} · lse`, shape: [rowsOf(q.value), heads] },
  ])[0]!;
}

function check(operands: AttentionOperands): void {
  const { q, kv, heads, keyValueHeads, keyRange, queryRange } = operands;
  const where = `attention ${q.value.name}`;
  if (keyValueHeads < 1 || heads % keyValueHeads !== 0) {
    throw new ShapeError(
      "shape",
      `${where}: ${heads} query heads cannot share ${keyValueHeads} key heads evenly.`,
    );
  }
  for (const [value, columns] of [
    [q.value, queryColumns(operands)],
    [kv.value, keyValueColumns(operands)],
  ] as const) {
    for (const { start, width } of columns) {
      if (start >= 0 && start + width <= widthOf(value)) continue;
      throw new ShapeError(
        "shape",
        `${where}: ${value.name} is ${widthOf(value)} wide, expected ${width} columns from column ${start}.`,
      );
    }
  }
  const ordered = [...writtenColumns(operands, q.value)].sort((a, b) => a.start - b.start);
  if (
    ordered.some(({ start, width }, i) => start + width > (ordered[i + 1]?.start ?? Number.POSITIVE_INFINITY))
  ) {
    throw new ShapeError("shape", `${where}: the columns of queries, keys and values overlap.`);
  }
  checkRange(where, keyRange, rowsOf(q.value));
  if (queryRange) checkRange(where, queryRange, rowsOf(kv.value));
  else if (q.value.requiresGrad || kv.value.requiresGrad) {
    throw new ShapeError("shape", `${where}: a gradient is wanted, which needs queryRange.`);
  }
}

function checkRange(where: string, range: Value, rows: Dim): void {
  if (range.dtype === "u32" && widthOf(range) === 2 && rowsOf(range) === rows) return;
  throw new ShapeError(
    "shape",
    `${where}: ${range.name} is not u32 [rows, 2] with the rows whose range it gives.`,
  );
}

function queryColumns({ q, heads, headDim }: AttentionOperands): Columns[] {
  return [{ start: q.start, width: heads * headDim }];
}

function keyValueColumns({ kv, keyValueHeads, headDim }: AttentionOperands): Columns[] {
  const width = keyValueHeads * headDim;
  return [kv.keyStart, kv.valueStart].map((start) => ({ start, width }));
}

/** The columns of a value's gradient that the passes write. */
function writtenColumns(operands: AttentionOperands, value: Value): Columns[] {
  return [
    ...(value === operands.q.value ? queryColumns(operands) : []),
    ...(value === operands.kv.value ? keyValueColumns(operands) : []),
  ];
}

/** Rows of a tile, as shaders/attention.wgsl has them. */
const TILE = 4;
const LANES = 64;

function params({ graph, q, kv, ...attributes }: Attention): Record<string, number> {
  return {
    queries_extent: graph.extentOf(rowsOf(q.value)).index,
    keys_extent: graph.extentOf(rowsOf(kv.value)).index,
    heads: attributes.heads,
    key_value_heads: attributes.keyValueHeads,
    head_dim: attributes.headDim,
    slices: 1,
    q_width: widthOf(q.value),
    q_start: q.start,
    kv_width: widthOf(kv.value),
    key_start: kv.keyStart,
    value_start: kv.valueStart,
    scale: attributes.scale,
  };
}

/** Whether every row and head starts at a whole vec4f. */
function isAligned({ q, kv, headDim }: Attention): boolean {
  const offsets = [headDim, q.start, widthOf(q.value), kv.keyStart, kv.valueStart, widthOf(kv.value)];
  return offsets.every((offset) => offset % 4 === 0);
}

/** A pass whose invocations own a tile of rows of one head and a slice of its features. */
function tiled(
  attributes: Attention,
  traits: DeviceTraits,
  entry: TiledPass,
  bindings: Dispatch["bindings"],
): Dispatch {
  const { graph, q, kv, headDim } = attributes;
  const { sumsInMemory, quads, lanes } = attentionTilings[traits.deviceClass];
  const slices = sumsInMemory ? 1 : Math.ceil(headDim / (4 * quads[entry]));
  const byKey = entry === "backward_key";
  const rows = graph.extentOf(rowsOf(byKey ? kv.value : q.value));
  const parts = slices * (byKey ? attributes.keyValueHeads : attributes.heads);
  const overrides = {
    SUMS_IN_MEMORY: sumsInMemory ? 1 : 0,
    // Slices of one width, so that little is computed beyond the head's features.
    QUADS: sumsInMemory ? 1 : Math.ceil(Math.ceil(headDim / 4) / slices),
    ALIGNED: isAligned(attributes) ? 1 : 0,
    LANES: lanes,
  };
  return {
    kernel: { file: "attention", entry, overrides },
    params: { ...params(attributes), slices },
    bindings,
    workgroups: (size) => Math.ceil((Math.ceil(size(rows) / TILE) * parts) / lanes),
  };
}

/** A pass without tiles, of one invocation for each of rows · width places. */
function flat(
  attributes: Attention,
  entry: "backward_delta" | "backward_clear",
  rows: Dim,
  width: number,
  bindings: Dispatch["bindings"],
): Dispatch {
  const extent = attributes.graph.extentOf(rows);
  return {
    kernel: { file: "attention", entry, overrides: { LANES, ALIGNED: isAligned(attributes) ? 1 : 0 } },
    params: { ...params(attributes), queries_extent: extent.index, q_width: width },
    bindings,
    workgroups: (size) => Math.ceil((size(extent) * width) / LANES),
  };
}

const forward: Op<Attention> = {
  name: "attention.forward",
  lower({ attributes, inputs, outputs }, traits) {
    const [q, kv, key_range] = inputs;
    const [y, lse_out] = outputs;
    return [tiled(attributes, traits, "forward", { q, kv, key_range, sums: y, lse_out })];
  },
  backward(node: Node<Attention>, context: BackwardContext) {
    const { attributes, inputs, outputs } = node;
    const { graph, q, kv, heads } = attributes;
    const dy = context.outputGradient()!;
    // One value where queries, keys and values are one: the passes write different columns of its gradient.
    const wanted = [q.value, ...(kv.value === q.value ? [] : [kv.value])].filter((_, i) => context.wants(i));
    const [, ...gradients] = graph.record(
      backward,
      { ...attributes, wanted },
      [...inputs, ...outputs, dy],
      [
        { name: `attention ${q.value.name} · stats`, shape: [rowsOf(q.value), heads, 2] },
        ...wanted.map(({ name, shape }) => ({ name: `d ${name}`, shape })),
      ],
    );
    wanted.forEach((value, i) => {
      const made = gradients[i]!;
      context.give(inputs.indexOf(value), (soFar) => (soFar ? add(graph, soFar, made) : made));
    });
  },
};

interface AttentionBackward extends Attention {
  /** The values whose gradients are the outputs from 1 on. */
  readonly wanted: readonly Value[];
}

const backward: Op<AttentionBackward> = {
  name: "attention.backward",
  lower({ attributes, inputs, outputs }, traits) {
    const [q, kv, key_range, query_range, y_saved, lse, dy] = inputs as Value[];
    const [stats, ...gradients] = outputs as [Value, ...Value[]];
    const { wanted } = attributes;
    const shared = { q, kv, key_range, dy, stats };
    const dispatches = [
      flat(attributes, "backward_delta", rowsOf(lse!), attributes.heads, {
        dy,
        y_saved,
        lse,
        stats_out: stats,
      }),
    ];
    wanted.forEach((value, i) => {
      const written = writtenColumns(attributes, value).reduce((total, { width }) => total + width, 0);
      if (written === widthOf(value)) return;
      dispatches.push(
        flat(attributes, "backward_clear", rowsOf(value), widthOf(value), { sums: gradients[i] }),
      );
    });
    wanted.forEach((value, i) => {
      const gradient = gradients[i];
      // Told by what was traced: where activations are computed again, the inputs are their second making.
      if (value === attributes.q.value)
        dispatches.push(tiled(attributes, traits, "backward_query", { ...shared, sums: gradient }));
      if (value === attributes.kv.value) {
        dispatches.push(
          tiled(attributes, traits, "backward_key", { ...shared, query_range, sums: gradient }),
        );
      }
    });
    return dispatches;
  },
};
