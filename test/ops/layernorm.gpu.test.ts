import { add } from "../../src/ops/add.ts";
import { layerNorm } from "../../src/ops/layernorm.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite, onBothClasses } from "../harness/cases.ts";
import { backward, forward } from "../reference/layernorm.ts";

interface Case {
  readonly rows: number;
  readonly width: number;
  readonly eps: number;
  /** What is added to every x: a large mean, against which the variance must not cancel. */
  readonly offset?: number;
  readonly branch?: boolean;
  readonly gainTrains?: boolean;
  readonly biasTrains?: boolean;
}

// Rows are summed by 64 lanes, columns by 32 lanes in eights: 100, 9 and 70 leave tails in each.
const cases: readonly Case[] = [
  { rows: 1, width: 1, eps: 0.3 },
  { rows: 1, width: 9, eps: 0.3 },
  { rows: 5, width: 3, eps: 0.3 },
  { rows: 3, width: 100, eps: 1e-5, branch: true },
  { rows: 70, width: 9, eps: 0.3 },
  { rows: 33, width: 64, eps: 1e-2, offset: 20, branch: true },
  { rows: 5, width: 130, eps: 0.3, gainTrains: false },
  { rows: 5, width: 65, eps: 0.3, biasTrains: false, branch: true },
  { rows: 2, width: 4096, eps: 1e-5 },
];

async function check(bench: KernelBench, { rows, width, eps, ...options }: Case): Promise<void> {
  const { offset = 0, branch = false, gainTrains = true, biasTrains = true } = options;
  const x = bench.normal(rows * width).map((value) => Math.fround(value + offset));
  const gain = bench.normal(width);
  const bias = bench.normal(width);
  const dy = bench.normal(rows * width);
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { x: { shape: ["tokens", width], values: x, grad: true } },
    parameters: {
      gain: { shape: [width], values: gain, grad: gainTrains },
      bias: { shape: [width], values: bias, grad: biasTrains },
    },
    trace: (graph, values) => {
      const y = layerNorm(graph, values.x!, values.gain!, values.bias!, eps);
      // A second reader of x, so that dx is added to what the other has contributed.
      return branch ? { y, sum: add(graph, values.x!, y) } : { y };
    },
    seeds: branch ? { sum: dy } : { y: dy },
  });
  const expected = backward(x, gain, eps, dy);
  // One column is its own mean: dx and dgain are rounding errors around zero, only y and dbias can be compared.
  const alone = width === 1;
  // x − mean loses offset / spread digits in f32, whatever the kernel does.
  const tolerance = offset ? 1e-4 : 1e-5;
  bench.compare("y", result.output("y"), forward(x, gain, bias, eps), tolerance);
  if (!alone) {
    const dx = branch ? expected.dx.map((value, i) => value + dy[i]!) : expected.dx;
    bench.compare("dx", result.gradient("x"), dx, tolerance);
    // A frozen parameter's gradient keeps what it held.
    if (gainTrains) bench.compare("dgain", result.gradient("gain"), expected.dgain, tolerance);
  }
  if (biasTrains) bench.compare("dbias", result.gradient("bias"), expected.dbias, tolerance);
  for (const [name, trains] of [
    ["gain", gainTrains],
    ["bias", biasTrains],
  ] as const) {
    if (!trains && result.gradient(name).some((change) => change !== 0)) {
      throw new Error(`${name} is frozen, but its gradient has changed`);
    }
  }
}

export const suite = await kernelSuite(
  "layernorm",
  onBothClasses(
    cases.map((test) => ({
      name: Object.entries(test)
        .map(([key, value]) => `${key} ${value}`)
        .join(", "),
      passes: [
        "forward",
        "backward_input",
        ...(test.gainTrains === false ? [] : ["backward_gain"]),
        ...(test.biasTrains === false ? [] : ["backward_bias"]),
      ],
      run: (bench: KernelBench) => check(bench, test),
    })),
  ),
);
