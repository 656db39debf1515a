/** Layer norm (Ba, Kiros & Hinton 2016), with the biased variance and eps inside the root, as PyTorch has it. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";
import { rowLanes } from "./tiles.ts";

interface LayerNorm {
  readonly graph: Graph;
  readonly eps: number;
}

/** Columns that one workgroup of backward_gain and backward_bias sums. */
const COLUMNS = 8;

/** y = gain ⊙ (x − mean(x)) / sqrt(var(x) + eps) + bias. x [rows, width]; gain, bias [width] → y [rows, width]. */
export function layerNorm(graph: Graph, x: Value, gain: Value, bias: Value, eps: number): Value {
  const width = widthOf(x);
  for (const vector of [gain, bias]) {
    if (widthOf(vector) !== width) {
      throw new ShapeError(
        "shape",
        `layernorm: ${vector.name} is [${vector.shape}], expected [${width}] to match ${x.name}.`,
      );
    }
  }
  const rows = rowsOf(x);
  return graph.record(
    forward,
    { graph, eps },
    [x, gain, bias],
    [
      { name: `${gain.name} · norm`, shape: [rows, width] },
      { name: `${gain.name} · stats`, shape: [rows, 2] },
    ],
  )[0]!;
}

function dispatch(
  node: Node<LayerNorm>,
  matrix: Value,
  entry: string,
  bindings: Dispatch["bindings"],
  soFar?: Value,
  /** Invocations that share a row; absent where a workgroup sums columns. */
  lanes?: number,
): Dispatch {
  const width = widthOf(matrix);
  const rows = node.attributes.graph.extentOf(rowsOf(matrix));
  return {
    kernel: { file: "layernorm", entry, ...(lanes ? { overrides: { LANES: lanes } } : {}) },
    params: { rows_extent: rows.index, width, has_so_far: soFar ? 1 : 0, eps: node.attributes.eps },
    bindings,
    workgroups: (size) => (lanes ? size(rows) : Math.ceil(width / COLUMNS)),
  };
}

const forward: Op<LayerNorm> = {
  name: "layernorm.forward",
  lower(node, traits) {
    const [x, gain, bias] = node.inputs;
    const [y, stats] = node.outputs;
    const bindings = { x, gain, bias, y, stats_out: stats };
    return [dispatch(node, x!, "forward", bindings, undefined, rowLanes(traits))];
  },
  backward(node, context) {
    const { graph } = node.attributes;
    const [x, gain] = node.inputs as [Value, Value];
    const stats = node.outputs[1]!;
    const dy = context.outputGradient()!;
    if (context.wants(1)) {
      const dgain = context.gradientOf(1);
      graph.record(backwardGain, node.attributes, [x, stats, dy, dgain], [], { mutates: [dgain] });
    }
    if (context.wants(2)) {
      const dbias = context.gradientOf(2);
      graph.record(backwardBias, node.attributes, [dy, dbias], [], { mutates: [dbias] });
    }
    context.give(0, (soFar) => {
      const inputs = [x, gain, stats, dy, soFar];
      return graph.record(backwardInput, node.attributes, inputs, [
        { name: `d ${x.name}`, shape: x.shape },
      ])[0]!;
    });
  },
};

const backwardInput: Op<LayerNorm> = {
  name: "layernorm.backwardInput",
  lower(node, traits) {
    const [x, gain, stats, dy, soFar] = node.inputs;
    const bindings = { x, gain, stats, dy, so_far: soFar, dx: node.outputs[0] };
    return [dispatch(node, x!, "backward_input", bindings, soFar, rowLanes(traits))];
  },
};

const backwardGain: Op<LayerNorm> = {
  name: "layernorm.backwardGain",
  lower(node) {
    const [x, stats, dy, dgain] = node.inputs;
    return [dispatch(node, x!, "backward_gain", { x, stats, dy, dgain })];
  },
};

const backwardBias: Op<LayerNorm> = {
  name: "layernorm.backwardBias",
  lower(node) {
    const [dy, dbias] = node.inputs;
    return [dispatch(node, dy!, "backward_bias", { dy, dbias })];
  },
};
