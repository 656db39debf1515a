/** The bench's side in the browser. The command (run.ts) says who takes a turn when. */

import type { Contender, Run, StartOptions } from "./contender.ts";
import type { Counts } from "./counters.ts";
import { takeCounts } from "./counters.ts";
import { benchSize, makeProblem } from "./problem.ts";

export interface Turn {
  /** Of each step, to the moment when its loss is there. */
  readonly ms: readonly number[];
  readonly losses: readonly number[];
  /** Of all steps of the turn together. */
  readonly counts: Counts;
}

const files = import.meta.glob<Contender>("./contenders/*.ts");
const problem = makeProblem();
const runs = new Map<string, Run>();

async function timeSteps(run: Run, steps: number): Promise<{ ms: number[]; losses: number[] }> {
  const ms: number[] = [];
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const start = performance.now();
    losses.push(await run.step());
    ms.push(performance.now() - start);
  }
  return { ms, losses };
}

const page = {
  async describe(): Promise<{ vendor: string; architecture: string; device: string; description: string }> {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error("The browser offers no WebGPU adapter.");
    const { vendor, architecture, device, description } = adapter.info;
    return { vendor, architecture, device, description };
  },

  /** From numbers in memory to the loss of the first step: upload, tracing, compilation and the step itself. */
  async start(name: string, options: StartOptions): Promise<Turn> {
    const contender = await files[`./contenders/${name}.ts`]!();
    await contender.acquire();
    takeCounts();
    const begin = performance.now();
    const run = await contender.start(problem, options);
    runs.set(name, run);
    const loss = await run.step();
    return { ms: [performance.now() - begin], losses: [loss], counts: takeCounts() };
  },

  async turn(name: string, steps: number): Promise<Turn> {
    takeCounts();
    const timed = await timeSteps(runs.get(name)!, steps);
    return { ...timed, counts: takeCounts() };
  },

  async products(rounds: number) {
    const [{ measureProduct, productShapes }, { acquire, device }] = await Promise.all([
      import("./products.ts"),
      import("./contenders/graft.ts"),
    ]);
    await acquire();
    const speeds = [];
    for (const shape of productShapes(benchSize)) speeds.push(await measureProduct(device(), shape, rounds));
    return speeds;
  },

  async profile(steps: number, options: StartOptions) {
    const { profileStep } = await import("./profile.ts");
    return profileStep(problem, steps, options);
  },
};

export type Bench = typeof page;
declare global {
  var bench: Bench;
}
globalThis.bench = page;
