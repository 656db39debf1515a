import { copyDispatch } from "../../src/graph/copy.ts";
import type { Graph } from "../../src/graph/graph.ts";
import type { Op, Value } from "../../src/graph/value.ts";
import { add } from "../../src/ops/add.ts";
import { rotary } from "../../src/ops/rotary.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { forward as copied } from "../reference/copy.ts";
import { forward as turned } from "../reference/rotary.ts";

/** Does nothing to its input, in place: what comes out is what the plan has copied. */
const untouched: Op<null> = { name: "untouched", lower: () => [] };

const shapes = [
  [1, 1],
  [3, 37],
  [4, 64],
] as const;

async function keepsAValue(bench: KernelBench, rows: number, width: number): Promise<void> {
  const x = bench.normal(rows * width);
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { x: { shape: ["tokens", width], values: x } },
    trace: (graph, values) => {
      // Inputs outlive the plan, so a node that changes one in place works on a copy.
      const output = { name: "y", shape: values.x!.shape, inPlaceOf: 0 };
      return { y: graph.record(untouched, null, [values.x], [output])[0]! };
    },
  });
  bench.compare("y", result.output("y"), copied(x), 0);
}

/** Rows beyond the live ones stay as they were, here in a state that a dispatch of its own copies into. */
async function stopsAtLiveRows(bench: KernelBench): Promise<void> {
  const [live, all, width] = [3, 5, 30];
  const x = bench.normal(all * width);
  const before = bench.normal(all * width);
  const op = (graph: Graph): Op<null> => ({
    name: "copyInto",
    lower: ({ inputs }) => [copyDispatch(graph, inputs[0]!, inputs[1]!)],
  });
  const result = await bench.run({
    counts: { tokens: live },
    inputs: { x: { shape: ["tokens", width], values: x.slice(0, live * width) } },
    states: { y: { shape: [all, width], values: before } },
    trace: (graph, values) => {
      graph.record(op(graph), null, [values.x, values.y], [], { mutates: [values.y!] });
      return {};
    },
  });
  const expected = before.map((value, i) => (i < live * width ? x[i]! : value));
  bench.compare("y", result.state("y"), expected, 0);
}

async function keepsWhatIsReadAgain(bench: KernelBench): Promise<void> {
  const shape = { width: 9, heads: 2, headDim: 4 };
  const rows = 5;
  const x = bench.normal(rows * shape.width);
  const positions = bench.integers(rows, 6);
  const [cos, sin] = [bench.normal(12), bench.normal(12)];
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: {
      x: { shape: ["tokens", shape.width], values: x },
      positions: { shape: ["tokens"], values: positions },
    },
    constants: { cos: { shape: [6, 2], values: cos }, sin: { shape: [6, 2], values: sin } },
    trace: (graph, values) => {
      const doubled = add(graph, values.x!, values.x!);
      const turn = (value: Value): Value =>
        rotary(graph, value, shape, values.positions!, values.cos!, values.sin!);
      const once = turn(doubled);
      return { once, sum: add(graph, doubled, once) };
    },
  });
  const doubled = x.map((value) => 2 * value);
  const once = turned(doubled, shape, positions, cos, sin);
  bench.compare("once", result.output("once"), once);
  bench.compare(
    "sum",
    result.output("sum"),
    once.map((value, i) => value + doubled[i]!),
  );
}

export const suite = await kernelSuite("copy", [
  ...shapes.map(([rows, width]) => ({
    name: `[${rows}, ${width}], an input changed in place`,
    passes: ["copy"],
    run: (bench: KernelBench) => keepsAValue(bench, rows, width),
  })),
  { name: "stops at the live rows", passes: ["copy"], run: stopsAtLiveRows },
  { name: "a value rotated in place and read again", passes: ["copy"], run: keepsWhatIsReadAgain },
]);
