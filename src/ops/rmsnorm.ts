/** Root-mean-square norm (Zhang & Sennrich 2019, equation 4, with eps inside the root as Llama has it). */
import { ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";
import { rowLanes } from "./tiles.ts";

interface RmsNorm {
  readonly graph: Graph;
  readonly eps: number;
}

const COLUMNS = 64;

/** y = gain ⊙ x / sqrt(mean(x²) + eps). x [rows, width], gain [width] → y [rows, width]. */
export function rmsNorm(graph: Graph, x: Value, gain: Value, eps: number): Value {
  const width = widthOf(x);
  if (widthOf(gain) !== width) {
    throw new ShapeError(
      "shape",
      `rmsnorm ${gain.name}: gain is [${gain.shape}], expected [${width}] to match ${x.name}.`,
    );
  }
  const rows = rowsOf(x);
  return graph.record(
    forward,
    { graph, eps },
    [x, gain],
    [
      { name: `${gain.name} · norm`, shape: [rows, width] },
      { name: `${gain.name} · r`, shape: [rows] },
    ],
  )[0]!;
}

function dispatch(
  node: Node<RmsNorm>,
  entry: string,
  bindings: Dispatch["bindings"],
  soFar?: Value,
  /** Invocations that share a row; absent where a workgroup sums columns. */
  lanes?: number,
): Dispatch {
  const x = node.inputs[0]!;
  const width = widthOf(x);
  const rows = node.attributes.graph.extentOf(rowsOf(x));
  return {
    kernel: { file: "rmsnorm", entry, ...(lanes ? { overrides: { LANES: lanes } } : {}) },
    params: { rows_extent: rows.index, width, has_so_far: soFar ? 1 : 0, eps: node.attributes.eps },
    bindings,
    workgroups: (size) => (lanes ? size(rows) : Math.ceil(width / COLUMNS)),
  };
}

const forward: Op<RmsNorm> = {
  name: "rmsnorm.forward",
  lower(node, traits) {
    const [x, gain] = node.inputs;
    const [y, r] = node.outputs;
    return [dispatch(node, "forward", { x, gain, y, r_out: r }, undefined, rowLanes(traits))];
  },
  backward(node, context) {
    const { graph } = node.attributes;
    const [x, gain] = node.inputs as [Value, Value];
    const r = node.outputs[1]!;
    const dy = context.outputGradient()!;
    if (context.wants(1)) {
      const dgain = context.gradientOf(1);
      graph.record(backwardGain, node.attributes, [x, r, dy, dgain], [], { mutates: [dgain] });
    }
    context.give(0, (soFar) => {
      const inputs = [x, gain, r, dy, soFar];
      return graph.record(backwardInput, node.attributes, inputs, [
        { name: `d ${x.name}`, shape: x.shape },
      ])[0]!;
    });
  },
};

const backwardInput: Op<RmsNorm> = {
  name: "rmsnorm.backwardInput",
  lower(node, traits) {
    const [x, gain, r, dy, soFar] = node.inputs;
    const bindings = { x, gain, r, dy, so_far: soFar, dx: node.outputs[0] };
    return [dispatch(node, "backward_input", bindings, soFar, rowLanes(traits))];
  },
};

const backwardGain: Op<RmsNorm> = {
  name: "rmsnorm.backwardGain",
  lower(node) {
    const [x, r, dy, dgain] = node.inputs;
    return [dispatch(node, "backward_gain", { x, r, dy, dgain })];
  },
};
