/** Dropout (Srivastava et al. 2014) whose masks are drawn anew in the backward, from a counter and not from a state. */
import { ConfigError, ShapeError } from "../base/errors.ts";
import { type Graph, rowsOf, widthOf } from "../graph/graph.ts";
import type { Dispatch, Node, Op, Value } from "../graph/value.ts";

export interface DropoutOptions {
  /** The share that is dropped, from 0 up to but not including 1. */
  readonly p: number;
  /** A u32 that tells this module's masks from another's. */
  readonly module: number;
  /** [2] u32, written before each micro-batch: the run's seed and the optimizer step. */
  readonly seedStep: Value;
  /** [rows] u32: which row of the optimizer step a token belongs to, however the step is cut into micro-batches. */
  readonly rowInStep: Value;
  /** [rows] u32: the token's position in that row. */
  readonly positions: Value;
}

interface Dropout {
  readonly graph: Graph;
  readonly p: number;
  readonly module: number;
}

/** y = x ⊙ mask / (1 − p). x [rows, width] → y [rows, width]; x itself where p is 0. */
export function dropout(graph: Graph, x: Value, options: DropoutOptions): Value {
  const { p, module, seedStep, rowInStep, positions } = options;
  if (!(p >= 0 && p < 1)) {
    throw new ConfigError(
      "dropout-range",
      `dropout is ${p}, expected at least 0 and below 1.`,
      "Set lora_dropout to a share such as 0.05.",
    );
  }
  const rows = rowsOf(x);
  for (const perToken of [rowInStep, positions]) {
    if (perToken.dtype !== "u32" || perToken.shape[0] !== rows) {
      throw new ShapeError("shape", `dropout: ${perToken.name} is not one u32 for each row of ${x.name}.`);
    }
  }
  if (seedStep.dtype !== "u32" || seedStep.shape[0] !== 2) {
    throw new ShapeError(
      "shape",
      `dropout: ${seedStep.name} is ${seedStep.dtype} [${seedStep.shape}], expected u32 [2].`,
    );
  }
  if (p === 0) return x;
  const output = { name: `${x.name} · dropout`, shape: x.shape };
  return graph.record(forward, { graph, p, module }, [x, seedStep, rowInStep, positions], [output])[0]!;
}

function dispatch(
  node: Node<Dropout>,
  entry: string,
  bindings: Dispatch["bindings"],
  soFar?: Value,
): Dispatch {
  const { graph, p, module } = node.attributes;
  const [output] = node.outputs as [Value];
  const width = widthOf(output);
  const rows = graph.extentOf(rowsOf(output));
  return {
    kernel: { file: "dropout", entry },
    params: {
      rows_extent: rows.index,
      width,
      threshold: Math.min(Math.round(p * 2 ** 32), 2 ** 32 - 1),
      module_key: module,
      has_so_far: soFar ? 1 : 0,
      scale: 1 / (1 - p),
    },
    bindings,
    workgroups: (size) => Math.ceil((size(rows) * Math.ceil(width / 4)) / 64),
  };
}

const forward: Op<Dropout> = {
  name: "dropout.forward",
  lower(node) {
    const [x, seedStep, rowInStep, positions] = node.inputs;
    const bindings = { x, seed_step: seedStep, row_in_step: rowInStep, positions, y: node.outputs[0] };
    return [dispatch(node, "forward", bindings)];
  },
  backward(node, context) {
    const { graph } = node.attributes;
    const [x, seedStep, rowInStep, positions] = node.inputs as [Value, Value, Value, Value];
    const dy = context.outputGradient()!;
    context.give(0, (soFar) => {
      const inputs = [dy, seedStep, rowInStep, positions, soFar];
      const output = { name: `d ${x.name}`, shape: x.shape };
      return graph.record(backwardInput, node.attributes, inputs, [output])[0]!;
    });
  },
};

const backwardInput: Op<Dropout> = {
  name: "dropout.backwardInput",
  lower(node) {
    const [dy, seedStep, rowInStep, positions, soFar] = node.inputs;
    const [dx] = node.outputs;
    const bindings = { dy, seed_step: seedStep, row_in_step: rowInStep, positions, so_far: soFar, dx };
    return [dispatch(node, "backward_input", bindings, soFar)];
  },
};
