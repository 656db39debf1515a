/**
 * Reverse mode: walks the traced nodes backwards and adds the backward nodes that are needed, and no others.
 * Pruning is PyTorch's: a value that requires no gradient gets none, and a node whose outputs receive none is
 * passed over.
 */
import { GraftError } from "../base/errors.ts";
import type { Graph } from "./graph.ts";
import type { BackwardContext, Value } from "./value.ts";

/**
 * Adds the backward of what has been recorded, from node `from` on. `seeds` are the gradients that start it: of the
 * loss, whose node brings its own (it may be empty), of a chunk's logits, or of outputs under test.
 */
export function differentiate(
  graph: Graph,
  seeds: ReadonlyMap<Value, Value> = new Map(),
  from = 0,
): Map<Value, Value> {
  const gradients = new Map<Value, Value>(seeds);
  const forward = graph.nodes.slice(from);
  for (const node of forward.reverse()) {
    const { backward } = node.op;
    if (!backward || !node.inputs.some((input) => input?.requiresGrad)) continue;
    const isSource = node.outputs.length > 0 && node.outputs.every((output) => startsBackward.has(output));
    if (!isSource && !node.outputs.some((output) => gradients.has(output))) continue;
    const inputAt = (index: number): Value => {
      const input = node.inputs[index];
      if (!input) throw new GraftError("backward", `${node.op.name} has no input ${index}.`);
      return input;
    };
    const context: BackwardContext = {
      outputGradient: (index = 0) => gradients.get(node.outputs[index]!),
      wants: (index) => node.inputs[index]?.requiresGrad === true,
      give(index, make) {
        const input = node.inputs[index];
        if (!input?.requiresGrad) return;
        gradients.set(input, make(gradients.get(input)));
      },
      gradientOf(index) {
        const input = inputAt(index);
        if (!input.gradient) throw new GraftError("backward", `${input.name} is not a trainable parameter.`);
        return input.gradient;
      },
    };
    backward(node, context);
  }
  return gradients;
}

const startsBackward = new WeakSet<Value>();

/** Marks a value as a loss: its gradient is one, and its node's backward runs without waiting for another's. */
export function markLoss(value: Value): void {
  startsBackward.add(value);
}
