/** Where Graft's step goes: the time of each launch, by kernel, and for matrix products by shape. */
import type { Plan } from "../src/graph/plan.ts";
import { maxOf } from "../src/graph/value.ts";
import type { StartOptions } from "./contender.ts";
import { acquire, device, prepare, stepper } from "./contenders/graft.ts";
import { DispatchTimer } from "./dispatchTimer.ts";
import { median } from "./median.ts";
import type { Problem } from "./problem.ts";

export interface KernelShare {
  /** "linear.forward", with the shape for a matrix product. */
  readonly kernel: string;
  /** In one step. */
  readonly launches: number;
  /** Of all its launches in one step; the median over the steps. */
  readonly ms: number;
  /** Floating-point operations of all of them; 0 for what is no matrix product. */
  readonly flops: number;
}

interface Launch {
  readonly kernel: string;
  readonly flops: number;
}

/** The launches of a plan in order, at its full size. */
function launchesOf({ dispatches, extents }: Plan): Launch[] {
  return dispatches.map(({ kernel, params }) => {
    const kernelName = `${kernel.file}.${kernel.entry}`;
    if (!/^linear\b/.test(kernel.file) || !/^(forward|backward_input|backward_weight)_/.test(kernel.entry)) {
      return { kernel: kernelName, flops: 0 };
    }
    const rows = maxOf(extents.find(({ index }) => index === params.rows_extent)!);
    const { width, out } = params as { width: number; out: number };
    return {
      kernel: `${kernelName} x [${rows}, ${width}], W [${out}, ${width}]`,
      flops: 2 * rows * width * out,
    };
  });
}

export async function profileStep(
  problem: Problem,
  steps: number,
  options: StartOptions,
): Promise<KernelShare[]> {
  await acquire();
  if (!device().features.has("timestamp-query")) return [];
  const { trainer, destroy } = await prepare(problem, device(), options);
  // biome-ignore-start lint/complexity/useLiteralKeys: they are private, and nobody else wants to see them
  const launches = [...launchesOf(trainer["microBatch"].plan), ...launchesOf(trainer["update"].plan)];
  // biome-ignore-end lint/complexity/useLiteralKeys: as above
  const step = stepper(trainer);
  await step();
  const perStep: Map<string, number>[] = [];
  for (let i = 0; i < steps; i++) {
    const timer = new DispatchTimer(device());
    await step();
    const times = await timer.stop();
    if (times.length !== launches.length) {
      throw new Error(`The step launched ${times.length} kernels, its plans have ${launches.length}.`);
    }
    perStep.push(sumBy(launches.map(({ kernel }, at) => [kernel, times[at]!.ms])));
  }
  destroy();
  const counts = sumBy(launches.map(({ kernel }) => [kernel, 1]));
  const flops = sumBy(launches.map(({ kernel, flops }) => [kernel, flops]));
  return [...counts]
    .map(([kernel, launches]) => ({
      kernel,
      launches,
      ms: median(perStep.map((ms) => ms.get(kernel)!)),
      flops: flops.get(kernel)!,
    }))
    .sort((a, b) => b.ms - a.ms);
}

function sumBy(pairs: readonly (readonly [key: string, value: number])[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [key, value] of pairs) sums.set(key, (sums.get(key) ?? 0) + value);
  return sums;
}
