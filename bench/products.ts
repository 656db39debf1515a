/** Speed of single matrix products: every pass of `linear` at given shapes, in each row of the tile table. */
import { type DeviceTraits, Gpu } from "../src/gpu/device.ts";
import { Kernels } from "../src/gpu/kernels.ts";
import { ArenaLayout, Arenas } from "../src/graph/arena.ts";
import { differentiate } from "../src/graph/backward.ts";
import { Graph } from "../src/graph/graph.ts";
import { makePlan } from "../src/graph/plan.ts";
import { Program } from "../src/graph/program.ts";
import { linear } from "../src/ops/linear.ts";
import { stackRows } from "../src/ops/weight.ts";
import type { ProblemSize } from "./problem.ts";

export type Tile = NonNullable<DeviceTraits["tile"]>;

/** x·Wᵀ, dy·W and dyᵀ·x: NT, NN and TN of the textbooks. */
export type Pass = "forward" | "backwardInput" | "backwardWeight";

/** x [rows, width], W [out, width]. */
export interface ProductShape {
  readonly what: string;
  readonly pass: Pass;
  readonly rows: number;
  readonly width: number;
  readonly out: number;
}

export const allTiles: readonly Tile[] = ["software", "gpuLarge", "gpuSmall", "plain"];

export function productShapes(size: ProblemSize): ProductShape[] {
  const square = { what: "square", rows: 256, width: 576, out: 576 };
  const tokens = size.rows * (size.length + 1);
  const ofStep = [
    { what: "q, k, v", rows: tokens, width: size.width, out: 3 * size.width },
    { what: "o", rows: tokens, width: size.width, out: size.width },
    { what: "gate, up", rows: tokens, width: size.width, out: 2 * size.inner },
    { what: "down", rows: tokens, width: size.inner, out: size.width },
    { what: "head", rows: size.rows * size.length, width: size.width, out: size.vocabulary },
  ];
  const passes: Pass[] = ["forward", "backwardInput", "backwardWeight"];
  return [
    ...passes.map((pass) => ({ ...square, pass })),
    // No weight of the step trains: nothing asks for the third pass.
    ...ofStep.flatMap((shape) => passes.slice(0, 2).map((pass) => ({ ...shape, pass }))),
  ];
}

export interface ProductSpeed extends ProductShape {
  /** GFLOP/s of the best round, by row of the tile table. */
  readonly best: Readonly<Partial<Record<Tile, number>>>;
}

interface Ready {
  readonly tile: Tile;
  time(repeats: number): Promise<number>;
  destroy(): void;
}

/** Milliseconds that a round takes about. */
const ROUND_MS = 100;

/** The rows of the table take turns, so that a disturbance hits all of them. */
export async function measureProduct(
  device: GPUDevice,
  shape: ProductShape,
  rounds: number,
): Promise<ProductSpeed> {
  const ready = await Promise.all(allTiles.map((tile) => prepare(device, shape, tile)));
  const flops = 2 * shape.rows * shape.width * shape.out;
  const best: Partial<Record<Tile, number>> = {};
  const repeats = new Map<Tile, number>();
  for (const { tile, time } of ready) {
    await time(1);
    repeats.set(tile, Math.min(1000, Math.max(1, Math.round(ROUND_MS / (await time(1))))));
  }
  for (let round = 0; round < rounds; round++) {
    for (const { tile, time } of ready) {
      const count = repeats.get(tile)!;
      const speed = (count * flops) / (await time(count)) / 1e6;
      best[tile] = Math.max(best[tile] ?? 0, speed);
    }
  }
  for (const { destroy } of ready) destroy();
  return { ...shape, best };
}

async function prepare(
  device: GPUDevice,
  { pass, rows, width, out }: ProductShape,
  tile: Tile,
): Promise<Ready> {
  const gpu = new Gpu(device, { tile });
  const graph = new Graph(rows, 1);
  const layout = new ArenaLayout(gpu.traits.maxBinding);
  const x = graph.input("x", [graph.tokens, width], "f32", pass === "backwardInput");
  const dy = graph.input("dy", [graph.tokens, out], "f32");
  const trains = pass === "backwardWeight";
  const weight = graph.parameter("W", [out, width], layout.place("W", [out, width]).place, trains);
  const y = linear(graph, x, stackRows("W", [weight]));
  if (pass === "forward") {
    graph.keep("y", y);
  } else {
    // The forward pass is then read by nobody, and the plan leaves it out.
    const dx = differentiate(graph, new Map([[y, dy]])).get(x);
    if (dx) graph.keep("dx", dx);
  }
  const arenas = new Arenas(gpu, layout);
  arenas.bind(weight);
  arenas.write("parameters", "W", sawtooth(out * width));
  const plan = makePlan(graph, gpu.traits);
  if (plan.dispatches.length !== 1) throw new Error(`${pass} took ${plan.dispatches.length} launches.`);
  const program = await Program.create(gpu, new Kernels(gpu), plan);
  program.write(x, sawtooth(rows * width));
  program.write(dy, sawtooth(rows * out));
  program.setCounts({ tokens: rows, targets: 1 });
  return {
    tile,
    async time(repeats) {
      const encoder = device.createCommandEncoder();
      const commands = encoder.beginComputePass();
      for (let i = 0; i < repeats; i++) program.encode(commands);
      commands.end();
      const start = performance.now();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      return performance.now() - start;
    },
    destroy() {
      program.destroy();
      arenas.destroy();
      gpu.destroy(gpu.nothing);
    },
  };
}

/** Neither zeros nor anything that sums up to infinity: both might be faster or slower than numbers are. */
function sawtooth(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => ((i * 37) % 101) / 1e3 - 0.05);
}
