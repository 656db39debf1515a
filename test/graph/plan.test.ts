import { describe, expect, it } from "vitest";
import { Graph } from "../../src/graph/graph.ts";
import { makePlan, type Plan } from "../../src/graph/plan.ts";
import type { Dim, Node, Op, Value } from "../../src/graph/value.ts";
import { add } from "../../src/ops/add.ts";
import { wholeNumber } from "../harness/random.ts";
import { traits } from "./traits.ts";

/** An operation that says which node a dispatch comes from, so that a plan can be followed by hand. */
const anything: Op<unknown> = {
  name: "anything",
  lower(node) {
    const bindings: Record<string, Value> = {};
    node.inputs.forEach((input, i) => {
      if (input && ![...node.inPlace.values()].includes(i)) bindings[`in${i}`] = input;
    });
    node.outputs.forEach((output, i) => {
      bindings[`out${i}`] = output;
    });
    return [{ kernel: { file: "anything", entry: "forward" }, params: {}, bindings, workgroups: () => 1 }];
  },
};

/** A program of many sizes, with values read late and in-place updates of all kinds, some of them unread. */
function randomGraph(seed: number): Graph {
  const next = wholeNumber(seed);
  const graph = new Graph(50, 5);
  const values: Value[] = [
    graph.input("a", [graph.tokens, 8], "f32"),
    graph.constant("b", [graph.tokens, 8], "f32"),
  ];
  for (let i = 0; i < 40; i++) {
    const recent = () => values[Math.max(0, values.length - 1 - next(next(4) === 0 ? values.length : 5))]!;
    const inputs = Array.from({ length: 1 + next(3) }, recent);
    const inPlaceOf = next(3) === 0 ? next(inputs.length) : undefined;
    const sized = (): Dim[] => [next(2) ? graph.tokens : 7, 1 + next(30)];
    const first =
      inPlaceOf === undefined
        ? { name: `v${i}`, shape: sized() }
        : { name: `v${i}`, shape: inputs[inPlaceOf]!.shape, inPlaceOf };
    const others = Array.from({ length: next(2) }, () => ({ name: `v${i}'`, shape: sized() }));
    values.push(...graph.record(anything, {}, inputs, [first, ...others]));
  }
  graph.keep("last", values.at(-1)!);
  graph.keep("some", values.filter((value) => value.kind === "computed")[next(20)]!);
  return graph;
}

/** Follows a plan: what does each buffer hold, and is it what each dispatch expects? */
function follow(plan: Plan): { copies: number } {
  const holds = new Map<number, Value>();
  const held = (value: Value): Value | undefined => {
    const buffer = plan.bufferOf.get(value);
    return buffer === undefined ? value : holds.get(buffer);
  };
  let copies = 0;
  for (const { kernel, bindings } of plan.dispatches) {
    const operands = Object.entries(bindings) as [string, Value][];
    const buffers = operands
      .map(([, value]) => plan.bufferOf.get(value))
      .filter((buffer) => buffer !== undefined);
    if (kernel.file === "copy") {
      copies++;
      const [source, target] = operands.map(([, value]) => value) as [Value, Value];
      if (held(source) !== source) throw new Error(`a copy reads ${source.name}, which is gone`);
      if (new Set(buffers).size !== buffers.length) throw new Error("a copy onto itself");
      holds.set(plan.bufferOf.get(target)!, source);
      continue;
    }
    const reads = operands.filter(([name]) => name.startsWith("in")).map(([, value]) => value);
    const writes = operands.filter(([name]) => name.startsWith("out")).map(([, value]) => value);
    for (const read of reads) {
      if (held(read) !== read)
        throw new Error(`${read.name} is read, but its buffer holds ${held(read)?.name}`);
    }
    const node = writes[0]!.producer as Node;
    for (const [output, input] of node.inPlace) {
      const source = node.inputs[input]!;
      const found = held(node.outputs[output]!);
      if (found !== source)
        throw new Error(`${source.name} is updated in place, but its buffer holds ${found?.name}`);
    }
    const written = writes.map((value) => plan.bufferOf.get(value)!);
    if (new Set(written).size !== written.length) throw new Error("two outputs share a buffer");
    if (reads.some((read) => written.includes(plan.bufferOf.get(read)!)))
      throw new Error("a buffer is read and written");
    for (const write of writes) holds.set(plan.bufferOf.get(write)!, write);
  }
  for (const [name, value] of plan.kept) {
    if (held(value) !== value)
      throw new Error(`${name} was to be kept, but its buffer holds ${held(value)?.name}`);
  }
  return { copies };
}

describe("buffers", () => {
  it("hold, at every dispatch, the values that it reads", () => {
    let copies = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const plan = makePlan(randomGraph(seed), traits);
      copies += follow(plan).copies;
      for (const [value, buffer] of plan.bufferOf) {
        const bytes =
          4 * value.shape.reduce<number>((n, dim) => n * (typeof dim === "number" ? dim : dim.max), 1);
        expect(plan.bufferBytes[buffer]).toBeGreaterThanOrEqual(bytes);
      }
    }
    expect(copies).toBeGreaterThan(100);
  });

  it("serve again once their value has been read for the last time", () => {
    const graph = new Graph(50, 1);
    const x = graph.input("x", [graph.tokens, 64], "f32");
    let y = add(graph, x, x);
    for (let i = 0; i < 20; i++) y = add(graph, y, x);
    graph.keep("y", y);
    const plan = makePlan(graph, traits);
    expect(plan.bufferBytes).toEqual([50 * 64 * 4, 50 * 64 * 4]);
    expect(plan.bytes.activations).toBe(2 * 50 * 64 * 4);
    expect(plan.bytes.inputs).toBe(50 * 64 * 4);
  });

  it("are not made for what nobody reads", () => {
    const graph = new Graph(50, 1);
    const x = graph.input("x", [graph.tokens, 64], "f32");
    const unread = graph.input("unread", [graph.tokens, 64], "f32");
    const y = add(graph, x, x);
    add(graph, y, unread);
    graph.keep("y", y);
    const plan = makePlan(graph, traits);
    expect(plan.dispatches).toHaveLength(1);
    expect(plan.inputs).toEqual([x]);
    expect(plan.bufferBytes).toHaveLength(1);
  });
});

describe("an update in place", () => {
  const shape = (graph: Graph) => [graph.tokens, 64];
  const update = (graph: Graph, value: Value): Value =>
    graph.record(anything, {}, [value], [{ name: "updated", shape: value.shape, inPlaceOf: 0 }])[0]!;
  const files = (plan: Plan): string[] => plan.dispatches.map(({ kernel }) => kernel.file);

  it("takes over the buffer of a value that nobody reads any more", () => {
    const graph = new Graph(50, 1);
    const x = graph.input("x", shape(graph), "f32");
    const y = add(graph, x, x);
    const z = update(graph, y);
    graph.keep("z", z);
    const plan = makePlan(graph, traits);
    expect(files(plan)).toEqual(["add", "anything"]);
    expect(plan.bufferOf.get(z)).toBe(plan.bufferOf.get(y));
  });

  it.each(["read later", "kept"])("works on a copy of a value that is %s", (why) => {
    const graph = new Graph(50, 1);
    const x = graph.input("x", shape(graph), "f32");
    const y = add(graph, x, x);
    const z = update(graph, y);
    graph.keep("z", why === "kept" ? z : add(graph, z, y));
    if (why === "kept") graph.keep("y", y);
    const plan = makePlan(graph, traits);
    expect(files(plan)).toEqual(["add", "copy", "anything", ...(why === "kept" ? [] : ["add"])]);
    expect(plan.bufferOf.get(z)).not.toBe(plan.bufferOf.get(y));
  });

  it("works on a copy of what lies outside the plan", () => {
    const graph = new Graph(50, 1);
    graph.keep("z", update(graph, graph.input("x", shape(graph), "f32")));
    expect(files(makePlan(graph, traits))).toEqual(["copy", "anything"]);
  });
});

describe("an activation that no binding holds", () => {
  const plan = (tokens: number): Plan => {
    const graph = new Graph(tokens, 1);
    const x = graph.input("x", [graph.tokens, 10], "f32");
    const wide = graph.record(anything, {}, [x], [{ name: "wide", shape: [graph.tokens, 300] }])[0]!;
    graph.keep("y", graph.record(anything, {}, [wide], [{ name: "y", shape: [graph.tokens, 10] }])[0]!);
    return makePlan(graph, { ...traits, maxBinding: 2 ** 16 });
  };

  it("is refused with the number of tokens that fits", () => {
    // 2¹⁶ bytes are 54 rows of 300 f32, and a part.
    expect(() => plan(55)).toThrow(expect.objectContaining({ code: "activation-too-large" }));
    expect(() => plan(55)).toThrow(/wide would take 66000 bytes for 55 tokens.*at most 54 tokens/);
  });

  it("is accepted at that number", () => {
    expect(Math.max(...plan(54).bufferBytes)).toBeLessThanOrEqual(2 ** 16);
  });
});
