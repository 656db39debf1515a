import { checksum } from "../../src/ops/checksum.ts";
import type { KernelBench } from "../harness/bench.ts";
import { kernelSuite } from "../harness/cases.ts";
import { checksum as oracle } from "../reference/checksum.ts";

/** Words of any bits. */
function words(bench: KernelBench, count: number): Uint32Array {
  return new Uint32Array(Float32Array.from(bench.normal(count)).buffer);
}

/** One sum in the middle of others, to which it is added. */
async function check(bench: KernelBench, count: number): Promise<void> {
  const values = words(bench, count);
  const before = words(bench, 5);
  const result = await bench.run({
    counts: { tokens: 1 },
    constants: { words: { shape: [count], values } },
    states: { sums: { shape: [5], values: before } },
    trace: (graph, { words, sums }) => {
      checksum(graph, words!, sums!, 3);
      return {};
    },
  });
  const after = before.slice();
  after[3] = oracle(values, before[3]!);
  bench.compare("sums", result.state("sums"), after, 0);
}

// 256 words are a workgroup's at a time, and 4096 workgroups the most there are.
export const suite = await kernelSuite(
  "checksum",
  [1, 64, 1000, 50_001, 2 ** 20 + 300].map((count) => ({
    name: `${count} words`,
    passes: ["sum"],
    run: (bench: KernelBench) => check(bench, count),
  })),
);
