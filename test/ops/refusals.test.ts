import { describe, expect, it } from "vitest";
import { Graph } from "../../src/graph/graph.ts";
import type { Dim, Value, ValueType } from "../../src/graph/value.ts";
import { add } from "../../src/ops/add.ts";
import { dropout } from "../../src/ops/dropout.ts";
import { embedding } from "../../src/ops/embedding.ts";
import { headNorm } from "../../src/ops/headnorm.ts";
import { layerNorm } from "../../src/ops/layernorm.ts";
import { type LowRank, lowRankPath } from "../../src/ops/lora.ts";
import { rotary } from "../../src/ops/rotary.ts";
import { swiglu } from "../../src/ops/swiglu.ts";
import { stackRows } from "../../src/ops/weight.ts";

const graph = new Graph(8, 8);
const value = (name: string, shape: readonly Dim[], dtype: ValueType = "f32"): Value =>
  graph.input(name, shape, dtype);
const x = value("x", [graph.tokens, 12]);

const elsewhere = module({ rowStart: 4, a: factor("a", [2, 12], 1), b: factor("b", [4, 2], 1) });

describe("shapes that do not fit are refused while tracing, by name", () => {
  it.each<[string, () => unknown, RegExp]>([
    ["add", () => add(graph, x, value("other", [graph.tokens, 11])), /x and other differ/],
    [
      "layernorm",
      () => layerNorm(graph, x, value("gain", [12]), value("bias", [13]), 1e-5),
      /bias is \[13\], expected \[12\]/,
    ],
    [
      "headnorm, width",
      () => headNorm(graph, x, value("q", [4]), value("k", [4]), heads(2, 1, 4)),
      /12 wide, expected \(2 \+ 2 · 1\) heads of 4/,
    ],
    [
      "headnorm, gain",
      () => headNorm(graph, x, value("q", [4]), value("k", [3]), heads(1, 1, 4)),
      /k is \[3\], expected \[4\]/,
    ],
    ["rotary, width", () => turn(4, 4, 2), /4 heads of 4 do not fit into x/],
    ["rotary, tables", () => turn(2, 4, 3), /cos is \[9,3\], expected \[positions, 2\]/],
    ["rotary, odd heads", () => turn(2, 3, 1), /heads of 3/],
    ["swiglu", () => swiglu(graph, value("odd", [graph.tokens, 5])), /odd is 5 wide/],
    [
      "embedding, ids",
      () => embedding(graph, value("ids", [graph.tokens]), table()),
      /ids is f32 .* expected \[tokens\] u32/,
    ],
    [
      "embedding, so far",
      () => embedding(graph, ids(), table(), { soFar: value("soFar", [graph.tokens, 5]) }),
      /soFar differs in shape/,
    ],
    [
      "embedding, replaced twice",
      () => embedding(graph, ids(), table(), { replaced: { indices: [1, 1], value: value("own", [2, 4]) } }),
      /expected a row of 4 for each of 2 different rows below/,
    ],
    ["dropout, rows", () => drop(0.5, value("rows", [graph.targets], "u32")), /rows is not one u32 for each/],
    ["dropout, p", () => drop(1), /dropout is 1, expected at least 0 and below 1/],
    ["lora, A", () => lora([module({ a: factor("a", [2, 11]) })]), /a: A is \[2,11\].*expected \[r, 12\]/],
    ["lora, B", () => lora([module({ b: factor("b", [3, 2]) })]), /B \[3,2\], expected .*\[4, r\]/],
    ["lora, rank", () => lora([module({ b: factor("b", [4, 3]) })]), /B \[4,3\]/],
    ["lora, chunks", () => lora([module({ b: factor("b", [4, 2], 1) })]), /one chunk of the arena/],
    ["lora, modules apart", () => lora([module(), elsewhere]), /one chunk of the arena/],
    ["lora, beyond", () => lora([module({ rowStart: 7 })]), /rows 7 to 11 are not free among the 10/],
    ["lora, overlap", () => lora([module(), module({ rowStart: 3 })]), /rows 3 to 7 are not free/],
    ["lora, rows", () => lora([module()], value("y", [graph.targets, 10])), /x and y differ in rows/],
    ["dropout, no number", () => drop(Number.NaN), /dropout is NaN/],
  ])("%s", (_, trace, message) => {
    expect(trace).toThrow(message);
  });
});

it("records nothing for a dropout of 0: x itself comes out", () => {
  const before = graph.nodes.length;
  expect(drop(0)).toBe(x);
  expect(graph.nodes.length).toBe(before);
});

function heads(heads: number, keyValueHeads: number, headDim: number) {
  return { heads, keyValueHeads, headDim, eps: 1e-6 };
}

function turn(heads: number, headDim: number, half: number): Value {
  const positions = value("positions", [graph.tokens], "u32");
  return rotary(graph, x, { heads, headDim }, positions, value("cos", [9, half]), value("sin", [9, half]));
}

function ids(): Value {
  return value("ids", [graph.tokens], "u32");
}

function table() {
  return stackRows("table", [value("table", [7, 4])]);
}

function factor(name: string, shape: readonly number[], chunk = 0): Value {
  return graph.parameter(name, shape, { chunk, byteOffset: 256 });
}

function module(change: Partial<LowRank> = {}): LowRank {
  return { rowStart: 0, rows: 4, a: factor("a", [2, 12]), b: factor("b", [4, 2]), scale: 0, ...change };
}

function lora(modules: readonly LowRank[], y = value("y", [graph.tokens, 10])): Value {
  return lowRankPath(graph, x, y, modules, value("scales", [2]));
}

function drop(p: number, rowInStep = value("rows", [graph.tokens], "u32")): Value {
  const positions = value("positions", [graph.tokens], "u32");
  return dropout(graph, x, { p, module: 1, seedStep: value("seed", [2], "u32"), rowInStep, positions });
}
