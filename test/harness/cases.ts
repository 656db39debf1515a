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
      for (const test of cases) it(`${test.passes.join(", ")}: ${test.name}`, () => test.run(bench));
    });
  }
  return { shader, cases };
}
