/** Two rewrites of a traced program: recompute a block's activations in the backward, and drop what nobody reads. */
import type { Graph } from "./graph.ts";
import type { Node, Value } from "./value.ts";

/** Keeps the nodes that change something outside the plan, or that such nodes (or kept values) depend on. */
export function withoutUnread(nodes: readonly Node[], kept: Iterable<Value>): Node[] {
  const read = new Set<Value>(kept);
  const needed: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (node.mutates.length === 0 && !node.outputs.some((output) => read.has(output))) continue;
    needed.push(node);
    for (const input of node.inputs) if (input) read.add(input);
  }
  return needed.reverse();
}

/**
 * Gradient checkpointing. The first `forwardCount` nodes are the forward. Values made inside a block that only
 * the backward still wants are made again right before it, from the block's own inputs; they then die with the
 * block's forward. What another block reads (the residual stream) stays.
 */
export function recomputeBlocks(graph: Graph, forwardCount: number): Node[] {
  const forward = graph.nodes.slice(0, forwardCount);
  const crossesBlocks = new Set<Value>();
  for (const node of forward) {
    for (const input of node.inputs) {
      if (input?.producer && input.producer.block !== node.block) crossesBlocks.add(input);
    }
  }
  const result: Node[] = [...forward];
  const again = new Map<Value, Value>();

  const remake = (value: Value): Value => {
    const producer = value.producer;
    if (producer?.block === undefined || crossesBlocks.has(value) || !forwardNodes.has(producer))
      return value;
    const made = again.get(value);
    if (made) return made;
    const inputs = producer.inputs.map((input) => input && remake(input));
    const mark = graph.nodes.length;
    const outputs = graph.record(
      producer.op,
      producer.attributes,
      inputs,
      producer.outputs.map((output, index) => ({
        name: output.name,
        shape: output.shape,
        dtype: output.dtype,
        ...(producer.inPlace.has(index) ? { inPlaceOf: producer.inPlace.get(index)! } : {}),
      })),
    );
    producer.outputs.forEach((output, index) => {
      again.set(output, outputs[index]!);
    });
    result.push(...graph.nodes.splice(mark));
    return again.get(value)!;
  };

  const forwardNodes = new Set(forward);
  for (const node of graph.nodes.slice(forwardCount)) {
    result.push({ ...node, inputs: node.inputs.map((input) => input && remake(input)) });
  }
  return result;
}
