import { describe, expect, it } from "vitest";
import { differentiate, markLoss } from "../../src/graph/backward.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/value.ts";
import { add } from "../../src/ops/add.ts";
import { crossEntropy } from "../../src/ops/crossEntropy.ts";
import { linear } from "../../src/ops/linear.ts";
import { rmsNorm } from "../../src/ops/rmsnorm.ts";
import { scalarsState } from "../../src/ops/scalars.ts";
import { stackRows } from "../../src/ops/weight.ts";
import { linearHead } from "../harness/heads.ts";

const width = 8;
let placed = 0;

function parameter(graph: Graph, name: string, shape: readonly number[], trained = true): Value {
  return graph.parameter(name, shape, { chunk: 0, byteOffset: 256 * placed++ }, trained);
}

/** Names of the nodes that a backward from `output` adds. */
function backwardNodes(graph: Graph, output: Value): string[] {
  const forward = graph.nodes.length;
  differentiate(graph, new Map([[output, graph.input("seed", output.shape, "f32")]]));
  return graph.nodes.slice(forward).map((node) => node.op.name);
}

describe("the backward", () => {
  it("takes no gradient of a frozen weight", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32", true);
    const y = linear(graph, x, stackRows("w", [graph.constant("w", [width, width], "f32")]));
    expect(backwardNodes(graph, y)).toEqual(["linear.backwardInput"]);
  });

  it("takes no gradient of an input that needs none", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32");
    const y = linear(graph, x, stackRows("w", [parameter(graph, "w", [width, width])]));
    expect(backwardNodes(graph, y)).toEqual(["linear.backwardWeight"]);
  });

  it("takes the gradient of those slices of a weight that train", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32");
    const slices = [graph.constant("w0", [3, width], "f32"), parameter(graph, "w1", [5, width])];
    const y = linear(graph, x, stackRows("w", slices));
    const before = graph.nodes.length;
    differentiate(graph, new Map([[y, graph.input("seed", y.shape, "f32")]]));
    expect(graph.nodes.slice(before).flatMap((node) => node.mutates)).toEqual([slices[1]!.gradient]);
  });

  it("stops below the lowest trainable value", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32");
    const frozen = rmsNorm(graph, x, graph.constant("g0", [width], "f32"), 1e-5);
    const trained = rmsNorm(graph, frozen, parameter(graph, "g1", [width]), 1e-5);
    const top = rmsNorm(graph, trained, graph.constant("g2", [width], "f32"), 1e-5);
    expect(backwardNodes(graph, top)).toEqual(["rmsnorm.backwardInput", "rmsnorm.backwardGain"]);
  });

  it("adds nothing where nothing trains", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32");
    const y = rmsNorm(graph, x, parameter(graph, "g", [width], false), 1e-5);
    expect(backwardNodes(graph, y)).toEqual([]);
  });

  it("passes over a branch that does not lead to the loss", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32");
    const y = rmsNorm(graph, x, parameter(graph, "g", [width]), 1e-5);
    rmsNorm(graph, y, parameter(graph, "aside", [width]), 1e-5);
    expect(backwardNodes(graph, y)).toEqual(["rmsnorm.backwardGain"]);
  });

  it("gives back the sum of what several readers contribute", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32", true);
    const sum = add(graph, x, x);
    const seed = graph.input("seed", sum.shape, "f32");
    const gradient = differentiate(graph, new Map([[sum, seed]])).get(x)!;
    expect(gradient.producer!.op.name).toBe("add.forward");
    expect(gradient.producer!.inputs).toEqual([seed, seed]);
  });

  it("starts at a marked loss without a seed, and only there", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32", true);
    const y = rmsNorm(graph, x, graph.constant("g", [width], "f32"), 1e-5);
    expect(differentiate(graph).size).toBe(0);
    const index = (name: string, dtype: "u32" | "i32") =>
      graph.input(name, [name === "targetOfToken" ? graph.tokens : graph.targets], dtype);
    const head = linearHead(graph, stackRows("head", [graph.constant("head", [5, width], "f32")]));
    const operands = {
      targetRow: index("targetRow", "u32"),
      targetId: index("targetId", "u32"),
      targetOfToken: index("targetOfToken", "i32"),
      lossScale: graph.input("lossScale", [1], "f32"),
      scalars: scalarsState(graph),
    };
    crossEntropy(graph, y, head, { ...operands, withGradient: false });
    expect(differentiate(graph).size).toBe(0);
    crossEntropy(graph, y, head, { ...operands, withGradient: true });
    expect([...differentiate(graph).keys()]).toEqual([y, x]);
  });

  it("refuses a loss whose operation asks for the gradient of what does not train", () => {
    const graph = new Graph(4, 4);
    const x = graph.input("x", [graph.tokens, width], "f32", true);
    const op = {
      name: "careless",
      lower: () => [],
      backward: (_: unknown, context: { gradientOf(i: number): Value }) => void context.gradientOf(0),
    };
    const loss = graph.record(op, {}, [x], [{ name: "loss", shape: [1] }])[0]!;
    markLoss(loss);
    expect(() => differentiate(graph)).toThrow("x is not a trainable parameter");
  });
});
