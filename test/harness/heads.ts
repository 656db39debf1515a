import type { Graph } from "../../src/graph/graph.ts";
import type { Head } from "../../src/ops/crossEntropy.ts";
import { linear } from "../../src/ops/linear.ts";
import type { Weight } from "../../src/ops/weight.ts";

/** A head that is a product and nothing beside it. */
export function linearHead(graph: Graph, weight: Weight): Head {
  return { vocabulary: weight.rows, logits: (rows) => linear(graph, rows, weight) };
}
