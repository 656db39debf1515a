import { add } from "../../src/ops/add.ts";
import { rmsNorm } from "../../src/ops/rmsnorm.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite, onBothClasses } from "../harness/cases.ts";
import { backward, forward } from "../reference/rmsnorm.ts";

// 100 is no multiple of the 64-lane workgroup: the tail must be masked. An eps of 0.3 or 3 shows where it is lost.
const shapes = [
  [1, 1, 3],
  [1, 7, 0.3],
  [3, 100, 1e-5],
  [5, 64, 0.3],
  [2, 4096, 1e-5],
] as const;

async function check(
  bench: KernelBench,
  rows: number,
  width: number,
  eps: number,
  branch: boolean,
): Promise<void> {
  const x = bench.normal(rows * width);
  const gain = bench.normal(width);
  const dy = bench.normal(rows * width);
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { x: { shape: ["tokens", width], values: x, grad: true } },
    parameters: { gain: { shape: [width], values: gain } },
    trace: (graph, { x, gain }) => {
      const y = rmsNorm(graph, x!, gain!, eps);
      // A second reader of x, so that dx is added to what the other has contributed.
      return branch ? { y, sum: add(graph, x!, y) } : { y };
    },
    seeds: branch ? { sum: dy } : { y: dy },
  });
  const expected = backward(x, gain, eps, dy);
  bench.compare("y", result.output("y"), forward(x, gain, eps).y);
  bench.compare("dx", result.gradient("x"), branch ? expected.dx.map((d, i) => d + dy[i]!) : expected.dx);
  bench.compare("dgain", result.gradient("gain"), expected.dgain);
}

export const suite = await kernelSuite(
  "rmsnorm",
  onBothClasses(
    shapes.flatMap(([rows, width, eps]) =>
      // A single sum may be all but zero by chance.
      (width === 1 ? [false] : [false, true]).map((branch) => ({
        name: `[${rows}, ${width}] eps ${eps}${branch ? ", added to another branch" : ""}`,
        passes: ["forward", "backward_input", "backward_gain"],
        run: (bench: KernelBench) => check(bench, rows, width, eps, branch),
      })),
    ),
  ),
);
