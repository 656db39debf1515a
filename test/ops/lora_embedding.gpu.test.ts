import { add } from "../../src/ops/add.ts";
import { embeddingPath } from "../../src/ops/loraEmbedding.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import * as lora from "../reference/lora.ts";
import { backward, forward } from "../reference/lora_embedding.ts";

interface Case {
  readonly rows: number;
  readonly rank: number;
  /** Rows of the table, and their width. */
  readonly count: number;
  readonly width: number;
}

const scale = 0.5;

async function check(bench: KernelBench, { rows, rank, count, width }: Case): Promise<void> {
  const ids = bench.integers(rows, count);
  ids[0] = count - 1;
  // Ids that come again, next to each other and far apart.
  if (rows > 3) ids[rows - 1] = ids[1] = ids[2]!;
  const a = bench.normal(rank * count);
  const b = bench.normal(width * rank);
  const before = bench.normal(rows * width);
  const nothing = before.map(() => 0);
  const dy = bench.normal(rows * width);
  const guard = { shape: [67], values: bench.normal(67) };
  const result = await bench.run({
    counts: { tokens: rows },
    inputs: {
      ids: { shape: ["tokens"], values: ids },
      before: { shape: ["tokens", width], values: before, grad: true },
      nothing: { shape: ["tokens", width], values: nothing },
    },
    parameters: {
      first: guard,
      a: { shape: [rank, count], values: a },
      between: guard,
      b: { shape: [width, rank], values: b },
      last: guard,
    },
    states: { scales: { shape: [2], values: Float64Array.of(-7, scale) } },
    trace: (graph, values) => {
      const y = add(graph, values.before!, values.nothing!);
      const module = { a: values.a!, b: values.b!, scale: 1 };
      return { y: embeddingPath(graph, values.ids!, y, module, values.scales!) };
    },
    seeds: { y: dy },
  });
  // With p in x's place, the other half is LoRA with an A that is the identity.
  const p = forward(ids, a, count);
  const identity = Float64Array.from({ length: rank * rank }, (_, i) => (i % (rank + 1) === 0 ? 1 : 0));
  const modules = [{ rowStart: 0, scale, rank, a: identity, b }];
  const sizes = { width: rank, out: width };
  bench.compare("y", result.output("y"), lora.forward(p, before, modules, sizes));
  bench.compare("gradient of the old y", result.gradient("before"), dy);
  const { dx: dp, db } = lora.backward(p, modules, sizes, dy);
  bench.compare("dA", result.gradient("a"), backward(ids, dp, count));
  bench.compare("dB", result.gradient("b"), db[0]!);
  for (const name of ["first", "between", "last"]) {
    if (result.gradient(name).some((change) => change !== 0))
      throw new Error(`the gradient of ${name} changed`);
  }
}

const cases: readonly Case[] = [
  { rows: 1, rank: 3, count: 1, width: 5 },
  { rows: 5, rank: 3, count: 7, width: 9 },
  // More rows than a workgroup has invocations, of few ids; the first of an id in one, the last in another.
  { rows: 150, rank: 2, count: 4, width: 6 },
  { rows: 70, rank: 16, count: 300, width: 33 },
  { rows: 64, rank: 5, count: 1000, width: 8 },
];

export const suite = await kernelSuite(
  "lora_embedding",
  cases.map((test) => ({
    name: `${test.rows} ids of ${test.count}, rank ${test.rank}, width ${test.width}`,
    passes: ["forward", "backward_a"],
    run: (bench: KernelBench) => check(bench, test),
  })),
);
