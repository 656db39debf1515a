import { replaceColumns } from "../../src/ops/columns.ts";
import { linear } from "../../src/ops/linear.ts";
import { stackRows } from "../../src/ops/weight.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { backward, forward } from "../reference/columns.ts";
import * as product from "../reference/linear.ts";

interface Case {
  readonly rows: number;
  readonly width: number;
  readonly out: number;
  readonly columns: readonly number[];
}

/** The whole way: two products, the columns of one put into the other, and the gradients of all that goes in. */
async function check(bench: KernelBench, { rows, width, out, columns }: Case): Promise<void> {
  const count = columns.length;
  const x = bench.normal(rows * width);
  const w = bench.normal(out * width);
  const own = bench.normal(count * width);
  const dy = bench.normal(rows * out);
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: { x: { shape: ["tokens", width], values: x, grad: true } },
    parameters: {
      w: { shape: [out, width], values: w },
      own: { shape: [count, width], values: own },
    },
    trace: (graph, values) => {
      const weight = stackRows("w", [values.w!]);
      const z = linear(graph, values.x!, weight);
      return { y: replaceColumns(graph, values.x!, z, weight, { indices: columns, value: values.own! }) };
    },
    seeds: { y: dy },
  });
  const z = product.forward({ rows, width, out }, x, w);
  const p = product.forward({ rows, width, out: count }, x, own);
  bench.compare("y", result.output("y"), forward(z, p, out, columns));
  const { dz, dp } = backward(dy, out, columns);
  const [ofZ, ofP] = [
    product.backward({ rows, width, out }, x, w, dz),
    product.backward({ rows, width, out: count }, x, own, dp),
  ];
  bench.compare(
    "dx",
    result.gradient("x"),
    ofZ.dx.map((value, i) => value + ofP.dx[i]!),
  );
  bench.compare("d own", result.gradient("own"), ofP.dw);
  const dw = result.gradient("w");
  bench.compare("dW", dw, ofZ.dw);
  const stray = columns.find((column) =>
    dw.subarray(column * width, (column + 1) * width).some((value) => value !== 0),
  );
  if (stray !== undefined) throw new Error(`row ${stray} of W is replaced and has a gradient`);
}

const cases: readonly Case[] = [
  { rows: 1, width: 4, out: 5, columns: [3] },
  { rows: 5, width: 9, out: 7, columns: [6, 0, 3] },
  // More than a workgroup.
  { rows: 33, width: 12, out: 70, columns: [69, 5, 64] },
];

export const suite = await kernelSuite(
  "columns",
  cases.map((test) => ({
    name: `${test.rows} rows, columns ${test.columns} of ${test.out}`,
    passes: ["forward", "backward"],
    run: (bench: KernelBench) => check(bench, test),
  })),
);
