/** The low-rank path of LoRA (Hu et al. 2021, section 4.1), for one or several modules of a projection at once. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";
import { add } from "./add.ts";

/** An adapted module: a range of the rows of W with its two factors. */
export interface LowRank {
  /** The first row of W (output feature) that belongs to the module, and how many do. */
  readonly rowStart: number;
  readonly rows: number;
  /** A [r, width] and B [rows, r], trainable, in one chunk of the arena. */
  readonly a: Value;
  readonly b: Value;
  /** Of B, [rows], in the same chunk. All modules of a projection have one, or none has. */
  readonly bias?: Value | undefined;
  /**
   * A second pair of the same shapes in the same chunk, which does not train; what it adds is added before y. All
   * modules of a projection have one, or none has.
   */
  readonly start?: { readonly a: Value; readonly b: Value } | undefined;
  /** Index of lora_alpha / r in `scales`. */
  readonly scale: number;
}

interface LoraTables {
  readonly graph: Graph;
  readonly modules: readonly LowRank[];
  readonly scales: Value;
  /** Columns of p: the sum of all r, twice where there are second pairs. */
  readonly ranks: number;
  readonly width: number;
  /** Rows of W. */
  readonly out: number;
  /** Tiles of up to four columns of p and of up to four rows of W: `Columns` and `Outputs` of shaders/lora.wgsl. */
  readonly columns: Uint32Array;
  readonly outputs: Uint32Array;
  /** The most tiles that a module's columns make. */
  readonly rankTiles: number;
  /** Tiles of columns that train. */
  readonly trainedTiles: number;
  /** The first column of p that second pairs make; 0 where there are none. */
  readonly startColumn: number;
}

/** Results of an invocation in either direction. */
const TILE = 4;
/** Words of a `Columns` and of an `Outputs`. */
const COLUMNS_WORDS = 8;
const OUTPUTS_WORDS = 8;

function rankOf({ a, b, rows }: LowRank, width: number): number {
  const [rank, across] = a.shape as readonly number[];
  const [height, deep] = b.shape as readonly number[];
  if (across !== width || height !== rows || rank !== deep) {
    throw new ShapeError(
      "shape",
      `lora ${a.name}: A is [${a.shape}] and B [${b.shape}], expected [r, ${width}] and [${rows}, r].`,
      "Was the adapter trained on another model?",
    );
  }
  return rank!;
}

/** Where the factors of each tile lie, in floats from the start of the arena's chunk. */
function tables(
  graph: Graph,
  modules: readonly LowRank[],
  scales: Value,
  width: number,
  out: number,
): LoraTables {
  const columns: number[] = [];
  const outputs: number[] = [];
  let ranks = 0;
  let rankTiles = 0;
  checkRows(modules, out);
  const placeOf = (value: Value): number => {
    const { place } = value;
    if (place && place.chunk === modules[0]!.a.place?.chunk) return place.byteOffset / 4;
    throw new ShapeError(
      "arena",
      `lora ${value.name}: the factors of a projection do not lie in one chunk of the arena.`,
    );
  };
  const addColumns = (pair: { readonly a: Value; readonly b: Value }, module: LowRank): void => {
    const { rowStart, rows, scale } = module;
    const rank = rankOf({ ...module, ...pair }, width);
    const [a, b] = [placeOf(pair.a), placeOf(pair.b)];
    for (let j = 0; j < rank; j += TILE) {
      columns.push(ranks + j, Math.min(TILE, rank - j), a + j * width, b + j, rank, rowStart, rows, scale);
    }
    ranks += rank;
  };
  for (const module of modules) {
    const { rowStart, rows, scale } = module;
    const rank = rankOf(module, width);
    const b = placeOf(module.b);
    const bias = module.bias ? placeOf(module.bias) : 0;
    const start = module.start ? placeOf(module.start.b) : 0;
    for (let o = 0; o < rows; o += TILE) {
      const count = Math.min(TILE, rows - o);
      outputs.push(rowStart + o, count, b + o * rank, bias + o, start + o * rank, ranks, rank, scale);
    }
    rankTiles = Math.max(rankTiles, Math.ceil(rank / TILE));
    addColumns(module, module);
  }
  const [trainedRanks, trainedTiles] = [ranks, columns.length / COLUMNS_WORDS];
  for (const module of modules) if (module.start) addColumns(module.start, module);
  return {
    ...{ graph, modules, scales, ranks, width, out, rankTiles, trainedTiles },
    startColumn: ranks > trainedRanks ? trainedRanks : 0,
    columns: Uint32Array.from(columns),
    outputs: Uint32Array.from(outputs),
  };
}

/** Each row of W takes the change of one module: two invocations must not add to it at once. */
function checkRows(modules: readonly LowRank[], out: number): void {
  const taken = new Uint8Array(out);
  for (const { rowStart, rows, a } of modules) {
    const end = rowStart + rows;
    if (end > out || taken.subarray(rowStart, end).includes(1)) {
      throw new ShapeError(
        "shape",
        `lora ${a.name}: rows ${rowStart} to ${end} are not free among the ${out} of the projection.`,
      );
    }
    taken.fill(1, rowStart, end);
  }
}

/**
 * y + s·((x·Aᵀ)·Bᵀ + (x·A₀ᵀ)·B₀ᵀ + bias) in the rows of each module, A₀ and B₀ being its second pair where it has one.
 * x [rows, width], y [rows, out] → [rows, out], in place of y. `scales` holds lora_alpha / r of every module of the model.
 */
export function lowRankPath(
  graph: Graph,
  x: Value,
  y: Value,
  modules: readonly LowRank[],
  scales: Value,
): Value {
  if (rowsOf(x) !== rowsOf(y)) {
    throw new ShapeError("shape", `lora: ${x.name} and ${y.name} differ in rows.`);
  }
  const lora = tables(graph, modules, scales, widthOf(x), widthOf(y));
  const name = modules[0]!.a.name;
  const [p] = graph.record(
    down,
    lora,
    [x, ...modules.flatMap(({ a, start }) => (start ? [a, start.a] : [a]))],
    [{ name: `${name} · x`, shape: [rowsOf(x), lora.ranks] }],
  );
  return recordUp(lora, p!, y);
}

/** The second half alone: y + s·p·Bᵀ. `width` is A's, by which p [rows, ranks] was made. */
export function upPath(
  graph: Graph,
  p: Value,
  y: Value,
  modules: readonly LowRank[],
  { scales, width }: { readonly scales: Value; readonly width: number },
): Value {
  return recordUp(tables(graph, modules, scales, width, widthOf(y)), p, y);
}

function recordUp(lora: LoraTables, p: Value, y: Value): Value {
  const { graph, modules, scales } = lora;
  return graph.record(
    up,
    lora,
    [y, p, scales, ...modules.flatMap(({ b, bias, start }) => [b, bias, start?.b])],
    [{ name: `${modules[0]!.a.name} · y`, shape: y.shape, inPlaceOf: 0 }],
  )[0]!;
}

const LANES = 64;

function dispatch(
  node: Node<LoraTables>,
  entry: string,
  bindings: Dispatch["bindings"],
  items: (rows: number, lora: LoraTables) => number,
  soFar?: Value,
): Dispatch {
  const lora = node.attributes;
  const rows = lora.graph.extentOf(rowsOf(node.inputs[0]!));
  return {
    kernel: { file: "lora", entry },
    params: {
      rows_extent: rows.index,
      width: lora.width,
      out: lora.out,
      ranks: lora.ranks,
      column_count: columnTiles(lora),
      trained_count: lora.trainedTiles,
      output_count: outputTiles(lora),
      rank_count: lora.rankTiles,
      start_column: lora.startColumn,
      has_bias: lora.modules[0]!.bias ? 1 : 0,
      has_so_far: soFar ? 1 : 0,
    },
    bindings,
    workgroups: (size) => (size(rows) === 0 ? 0 : Math.ceil(items(size(rows), lora) / LANES)),
  };
}

function tablesOf(lora: LoraTables): Dispatch["bindings"] {
  return { columns: { table: lora.columns }, outputs: { table: lora.outputs }, scales: lora.scales };
}

const arenaOf = (lora: LoraTables) => ({ whole: lora.modules[0]!.a });
const gradientsOf = (node: Node<LoraTables>) => ({ whole: node.mutates[0]! });
const columnTiles = ({ columns }: LoraTables): number => columns.length / COLUMNS_WORDS;
const outputTiles = ({ outputs }: LoraTables): number => outputs.length / OUTPUTS_WORDS;
const tilesOf = (count: number): number => Math.ceil(count / TILE);
const perColumn = (rows: number, lora: LoraTables): number => tilesOf(rows) * columnTiles(lora);

const down: Op<LoraTables> = {
  name: "lora.down",
  lower(node) {
    const lora = node.attributes;
    const bindings = { ...tablesOf(lora), arena: arenaOf(lora), x: node.inputs[0], p_out: node.outputs[0] };
    return [dispatch(node, "down", bindings, perColumn)];
  },
  backward(node, context) {
    const lora = node.attributes;
    const x = node.inputs[0]!;
    const dp = context.outputGradient()!;
    const gradients = lora.modules.flatMap(({ a }) => (a.gradient ? [a.gradient] : []));
    if (gradients.length > 0)
      lora.graph.record(backwardA, lora, [dp, x, ...gradients], [], { mutates: gradients });
    context.give(0, (soFar) => {
      const output = { name: `d ${x.name}`, shape: x.shape };
      return lora.graph.record(backwardX, lora, [dp, soFar], [output])[0]!;
    });
  },
};

const up: Op<LoraTables> = {
  name: "lora.up",
  lower(node) {
    const lora = node.attributes;
    const bindings = { ...tablesOf(lora), arena: arenaOf(lora), p: node.inputs[1], y: node.outputs[0] };
    return [dispatch(node, "up", bindings, (rows, lora) => tilesOf(rows) * outputTiles(lora))];
  },
  backward(node, context) {
    const lora = node.attributes;
    const p = node.inputs[1]!;
    const dy = context.outputGradient()!;
    const gradients = lora.modules.flatMap(({ b }) => (b.gradient ? [b.gradient] : []));
    if (gradients.length > 0)
      lora.graph.record(backwardB, lora, [dy, p, ...gradients], [], { mutates: gradients });
    const biases = lora.modules.flatMap(({ bias }) => (bias?.gradient ? [bias.gradient] : []));
    if (biases.length > 0) lora.graph.record(backwardBias, lora, [dy, ...biases], [], { mutates: biases });
    context.give(1, () => {
      const output = { name: `d ${p.name}`, shape: p.shape };
      return lora.graph.record(backwardP, lora, [dy, lora.scales], [output])[0]!;
    });
    // The path is added to y, whose gradient is therefore dy itself.
    context.give(0, (soFar) => (soFar ? add(lora.graph, soFar, dy) : dy));
  },
};

const backwardP: Op<LoraTables> = {
  name: "lora.backwardP",
  lower(node) {
    const lora = node.attributes;
    const bindings = { ...tablesOf(lora), arena: arenaOf(lora), dy: node.inputs[0], dp_out: node.outputs[0] };
    return [dispatch(node, "backward_p", bindings, perColumn)];
  },
};

const backwardB: Op<LoraTables> = {
  name: "lora.backwardB",
  lower(node) {
    const lora = node.attributes;
    const [dy, p] = node.inputs;
    const bindings = { ...tablesOf(lora), gradients: gradientsOf(node), dy, p };
    return [dispatch(node, "backward_b", bindings, (_, lora) => outputTiles(lora) * lora.rankTiles)];
  },
};

const backwardBias: Op<LoraTables> = {
  name: "lora.backwardBias",
  lower(node) {
    const bindings = {
      ...tablesOf(node.attributes),
      gradients: gradientsOf(node),
      dy: node.inputs[0],
    };
    return [dispatch(node, "backward_bias", bindings, (_, lora) => outputTiles(lora))];
  },
};

const backwardA: Op<LoraTables> = {
  name: "lora.backwardA",
  lower(node) {
    const lora = node.attributes;
    const [dp, x] = node.inputs;
    const bindings = { ...tablesOf(lora), gradients: gradientsOf(node), dp, x };
    return [dispatch(node, "backward_a", bindings, (_, lora) => lora.trainedTiles * tilesOf(lora.width))];
  },
};

const backwardX: Op<LoraTables> = {
  name: "lora.backwardX",
  lower(node) {
    const lora = node.attributes;
    const [dp, soFar] = node.inputs;
    const bindings = { ...tablesOf(lora), arena: arenaOf(lora), dp, so_far: soFar, dx: node.outputs[0] };
    return [
      dispatch(node, "backward_x", bindings, (rows, { width }) => tilesOf(rows) * tilesOf(width), soFar),
    ];
  },
};
