import { describe, expect, it } from "vitest";
import { makePlan } from "../../src/graph/plan.ts";
import { withoutUnread } from "../../src/graph/prune.ts";
import { deepChain } from "./chain.ts";
import { traits } from "./traits.ts";

const size = { tokens: 64, width: 32, blocks: 12 };
const residualBytes = 4 * size.tokens * size.width;

describe("recomputing blocks", () => {
  it("keeps one value a block where all of a block's were kept", () => {
    const { graph, recomputed } = deepChain(size);
    const plain = makePlan(graph, traits).bytes;
    const less = makePlan(graph, traits, recomputed()).bytes;
    // A block holds the residual stream and what its second and third norm read.
    expect(plain.activations).toBeGreaterThan(3 * size.blocks * residualBytes);
    expect(less.activations).toBeLessThan((size.blocks + 10) * residualBytes);
    expect(less.inputs).toBe(plain.inputs);
  });

  it("makes again what the backward wants, and that only", () => {
    const { graph, recomputed, forwardCount } = deepChain(size);
    const nodes = withoutUnread(recomputed(), graph.kept.values());
    const count = (name: string, list = nodes): number => list.filter((node) => node.op.name === name).length;
    const forward = graph.nodes.slice(0, forwardCount);
    // All three norms of a block, the last for its statistics; the residual additions never.
    expect(count("rmsnorm.forward", forward)).toBe(3 * size.blocks);
    expect(count("rmsnorm.forward")).toBe(6 * size.blocks);
    expect(count("add.forward")).toBe(count("add.forward", graph.nodes));
    expect(count("rmsnorm.backwardGain")).toBe(3 * size.blocks);
  });

  it("leaves the graph's own nodes as they were", () => {
    const { graph, recomputed } = deepChain(size);
    const before = [...graph.nodes];
    recomputed();
    expect(graph.nodes).toEqual(before);
  });
});

describe("pruning", () => {
  it("keeps what changes something outside the plan and what that depends on, in order", () => {
    const { graph, forwardCount } = deepChain({ ...size, blocks: 2 });
    const all = withoutUnread(graph.nodes, []);
    expect(all.length).toBeGreaterThan(forwardCount);
    expect(graph.nodes.filter((node) => all.includes(node))).toEqual(all);
    // Without the backward nobody reads the forward.
    expect(withoutUnread(graph.nodes.slice(0, forwardCount), [])).toEqual([]);
  });
});
