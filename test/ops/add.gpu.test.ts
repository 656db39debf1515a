import type { Graph } from "../../src/graph/graph.ts";
import type { Op } from "../../src/graph/value.ts";
import { add } from "../../src/ops/add.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { backward, forward } from "../reference/add.ts";

const shapes = [
  [1, 1],
  [3, 37],
  [5, 64],
] as const;

async function check(bench: KernelBench, rows: number, width: number): Promise<void> {
  const a = bench.normal(rows * width);
  const b = bench.normal(rows * width);
  const shape = ["tokens", width] as const;
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { a: { shape, values: a }, b: { shape, values: b } },
    trace: (graph, values) => ({ y: add(graph, values.a!, values.b!) }),
  });
  bench.compare("y", result.output("y"), forward(a, b));
}

/** a is read three times: its gradients are summed. */
async function sumsGradients(bench: KernelBench): Promise<void> {
  const [rows, width] = [4, 30];
  const a = bench.normal(rows * width);
  const b = bench.normal(rows * width);
  const dy = bench.normal(rows * width);
  const shape = ["tokens", width] as const;
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { a: { shape, values: a, grad: true }, b: { shape, values: b, grad: true } },
    trace: (graph, values) => {
      const inner = add(graph, values.a!, values.b!);
      return { y: add(graph, add(graph, values.a!, values.a!), add(graph, inner, values.b!)) };
    },
    seeds: { y: dy },
  });
  const { da, db } = backward(dy);
  bench.compare("y", result.output("y"), forward(forward(a, a), forward(forward(a, b), b)));
  bench.compare(
    "da",
    result.gradient("a"),
    da.map((value) => 3 * value),
  );
  bench.compare(
    "db",
    result.gradient("b"),
    db.map((value) => 2 * value),
  );
}

/** Spread over two dimensions: each element once. */
async function spread(bench: KernelBench): Promise<void> {
  const [rows, width] = [65_537, 64];
  const a = Float64Array.from({ length: rows * width }, (_, i) => i);
  const b = a.map((value) => value % 7);
  const shape = ["tokens", width] as const;
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { a: { shape, values: a }, b: { shape, values: b } },
    trace: (graph, values) => ({ y: add(graph, values.a!, values.b!) }),
  });
  bench.compare("y", result.output("y"), forward(a, b).map(Math.fround), 0);
}

/** What lies beyond the live rows is not touched, here in a state that the kernel itself writes. */
async function stopsAtLiveRows(bench: KernelBench): Promise<void> {
  const [live, all, width] = [3, 5, 30];
  const [a, b] = [bench.normal(live * width), bench.normal(live * width)];
  const before = bench.normal(all * width);
  const addInto = (graph: Graph): Op<null> => ({
    name: "addInto",
    lower: ({ inputs: [a, b, y] }) => [
      {
        kernel: { file: "add", entry: "forward" },
        params: { rows_extent: graph.tokens.index, width },
        bindings: { a, b, y },
        workgroups: (size) => Math.ceil((size(graph.tokens) * width) / 64),
      },
    ],
  });
  const shape = ["tokens", width] as const;
  const result = await bench.run({
    counts: { tokens: live },
    inputs: { a: { shape, values: a }, b: { shape, values: b } },
    states: { y: { shape: [all, width], values: before } },
    trace: (graph, { a, b, y }) => {
      graph.record(addInto(graph), null, [a, b, y], [], { mutates: [y!] });
      return {};
    },
  });
  const sum = forward(a, b);
  bench.compare(
    "y",
    result.state("y"),
    before.map((value, i) => sum[i] ?? value),
  );
}

export const suite = await kernelSuite("add", [
  ...shapes.map(([rows, width]) => ({
    name: `[${rows}, ${width}]`,
    passes: ["forward"],
    run: (bench: KernelBench) => check(bench, rows, width),
  })),
  { name: "sums the gradients of a value that is read three times", passes: ["forward"], run: sumsGradients },
  { name: "stops at the live rows", passes: ["forward"], run: stopsAtLiveRows },
  { name: "more workgroups than a dimension holds", passes: ["forward"], run: spread },
]);
