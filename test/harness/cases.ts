/**
 * Kernel tests as data: each case names the passes it exercises and runs on a bench. The same list serves
 * vitest and the mutation runner, which breaks a pass and asks whether any case notices.
 */
import { type KernelBench, openBench } from "./bench.ts";

export interface KernelCase {
  readonly name: string;
  /** Entry points of the shader that this case exercises. */
  readonly passes: readonly string[];
  run(bench: KernelBench): Promise<void>;
}

export interface KernelSuite {
  readonly shader: string;
  readonly cases: readonly KernelCase[];
}

/** Each case twice: in the form for software devices and in that for GPUs. */
export function onBothClasses(cases: readonly KernelCase[]): KernelCase[] {
  return cases.flatMap((test) =>
    (["software", "gpu"] as const).map((deviceClass) => ({
      ...test,
      name: `${test.name}, ${deviceClass}`,
      run: (bench: KernelBench) => bench.as({ deviceClass }, () => test.run(bench)),
    })),
  );
}

/** How often each test runs, on fresh input each time. */
const SEEDS = Number(process.env.GRAFT_SEEDS ?? 1);
/** A comparison that came nearer to failing than this part of what it allows is told, where there are many seeds. */
const NEAR = 0.1;

/** Runs a test once; under `GRAFT_SEEDS=100` so many times, to say how often it failed and how near it came. */
export async function overSeeds(bench: KernelBench, name: string, run: () => Promise<void>): Promise<void> {
  if (SEEDS === 1) return run();
  const failures: unknown[] = [];
  bench.shares.clear();
  for (let i = 0; i < SEEDS; i++) await run().catch((error: unknown) => failures.push(error));
  for (const [what, share] of bench.shares) {
    if (share > NEAR) console.log(`${share.toFixed(2)} of what is allowed: ${name}: ${what}`);
  }
  if (failures.length > 0)
    throw new Error(`${failures.length} of ${SEEDS} failed, the first: ${failures[0]}`);
}

/** Declares the cases of `shaders/<shader>.wgsl`; under vitest each becomes a test. */
export async function kernelSuite(shader: string, cases: readonly KernelCase[]): Promise<KernelSuite> {
  if (process.env.VITEST) {
    const { afterAll, beforeAll, describe, it } = await import("vitest");
    describe(`${shader}.wgsl`, () => {
      let bench: KernelBench;
      beforeAll(async () => {
        bench = await openBench();
      });
      afterAll(() => bench?.close());
      for (const test of cases) {
        const name = `${test.passes.join(", ")}: ${test.name}`;
        it(name, () => overSeeds(bench, name, () => test.run(bench)));
      }
    });
  }
  return { shader, cases };
}
