/** A deep residual chain: blocks of three norms and an addition, with the backward of all. */
import { ArenaLayout } from "../../src/graph/arena.ts";
import { differentiate } from "../../src/graph/backward.ts";
import { Graph } from "../../src/graph/graph.ts";
import { recomputeBlocks } from "../../src/graph/prune.ts";
import type { Node, Value } from "../../src/graph/value.ts";
import { add } from "../../src/ops/add.ts";
import { rmsNorm } from "../../src/ops/rmsnorm.ts";

export interface ChainSize {
  readonly tokens: number;
  readonly width: number;
  readonly blocks: number;
}

export interface Chain {
  readonly graph: Graph;
  readonly layout: ArenaLayout;
  readonly gains: readonly Value[];
  readonly x: Value;
  readonly seed: Value;
  readonly forwardCount: number;
  /** The nodes with the activations of each block made again in the backward. */
  recomputed(): Node[];
}

export function deepChain({ tokens, width, blocks }: ChainSize): Chain {
  const graph = new Graph(tokens, 1);
  const layout = new ArenaLayout(2 ** 27);
  const gains: Value[] = [];
  const gain = (name: string): Value => {
    const made = graph.parameter(name, [width], layout.place(name, [width]).place);
    gains.push(made);
    return made;
  };
  const x = graph.input("x", [graph.tokens, width], "f32");
  let stream = x;
  for (let block = 0; block < blocks; block++) {
    stream = graph.inBlock(block, () => {
      const parts = ["a", "b", "c"].map((part) => gain(`gain ${block}${part}`));
      const inner = parts.reduce((value, part) => rmsNorm(graph, value, part, 1e-3), stream);
      return add(graph, stream, inner);
    });
  }
  graph.keep("y", stream);
  const forwardCount = graph.nodes.length;
  const seed = graph.input("seed", stream.shape, "f32");
  differentiate(graph, new Map([[stream, seed]]));
  return {
    graph,
    layout,
    gains,
    x,
    seed,
    forwardCount,
    recomputed: () => recomputeBlocks(graph, forwardCount),
  };
}
