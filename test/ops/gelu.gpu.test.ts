import { add } from "../../src/ops/add.ts";
import { gelu } from "../../src/ops/gelu.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { backward, forward, type GeluKind } from "../reference/gelu.ts";

const shapes = [
  { name: "[1, 5]", rows: 1, width: 5 },
  { name: "[3, 37]", rows: 3, width: 37 },
  { name: "[5, 64], added to another branch", rows: 5, width: 64, branch: true },
] as const;

async function check(
  bench: KernelBench,
  kind: GeluKind,
  { rows, width, branch = false }: { rows: number; width: number; branch?: boolean },
): Promise<void> {
  const x = bench.normal(rows * width, 1.5);
  await compare(bench, kind, x, width, branch);
}

/** Both pieces of erf and the seam between them, where every value weighs in the comparison. */
async function everywhere(bench: KernelBench, kind: GeluKind): Promise<void> {
  const x = Float64Array.from({ length: 1200 }, (_, i) =>
    Math.fround((i - 600) / 150 + bench.uniform() / 150),
  );
  await compare(bench, kind, x, 100, false, 3e-7);
}

/** Far out gelu is x or 0: no infinity, no NaN, whatever the size of x. */
async function farOut(bench: KernelBench, kind: GeluKind): Promise<void> {
  const dy = bench.normal(1)[0]!;
  for (const size of [7, 30, 1e4, 1e20, 3e38]) {
    await compare(bench, kind, Float64Array.of(Math.fround(size), Math.fround(-size)), 2, false, 1e-5, dy);
  }
}

async function compare(
  bench: KernelBench,
  kind: GeluKind,
  x: Float64Array,
  width: number,
  branch: boolean,
  tolerance = 1e-5,
  slope?: number,
): Promise<void> {
  const dy = slope === undefined ? bench.normal(x.length) : new Float64Array(x.length).fill(slope);
  const result = await bench.run({
    counts: { tokens: x.length / width },
    inputs: { x: { shape: ["tokens", width], values: x, grad: true } },
    trace: (graph, values) => {
      const y = gelu(graph, values.x!, kind);
      // A second reader of x, so that dx is added to what the other has contributed.
      return branch ? { y, sum: add(graph, values.x!, y) } : { y };
    },
    seeds: branch ? { sum: dy } : { y: dy },
  });
  const dx = backward(x, kind, dy);
  bench.compare("y", result.output("y"), forward(x, kind), tolerance);
  bench.compare("dx", result.gradient("x"), branch ? dx.map((d, i) => d + dy[i]!) : dx, tolerance);
}

const passes = ["forward", "backward_input"];

export const suite = await kernelSuite(
  "gelu",
  (["exact", "tanh"] as const).flatMap((kind) => [
    ...shapes.map((shape) => ({
      name: `${kind} ${shape.name}`,
      passes,
      run: (bench: KernelBench) => check(bench, kind, shape),
    })),
    { name: `${kind} from −4 to 4`, passes, run: (bench: KernelBench) => everywhere(bench, kind) },
    { name: `${kind} far out`, passes, run: (bench: KernelBench) => farOut(bench, kind) },
  ]),
);
