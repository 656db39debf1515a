import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import { Arenas } from "../../src/graph/arena.ts";
import { makePlan, type Plan } from "../../src/graph/plan.ts";
import { Program } from "../../src/graph/program.ts";
import { add } from "../../src/ops/add.ts";
import { type KernelBench, openBench } from "../harness/bench.ts";
import { type Chain, deepChain } from "./chain.ts";

let bench: KernelBench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench?.close());

const size = { tokens: 37, width: 50, blocks: 5 };

/** Runs a plan of the chain and gives the gradients of all gains, as bits. */
async function gradientBits(
  chain: Chain,
  plan: Plan,
  x: Float32Array,
  seed: Float32Array,
): Promise<Uint32Array[]> {
  const gpu = new Gpu(bench.device);
  const arenas = new Arenas(gpu, chain.layout);
  chain.gains.forEach((gain, i) => {
    arenas.bind(gain);
    arenas.write("parameters", gain.name, new Float32Array(size.width).fill(1 + i / 7));
  });
  const program = await Program.create(gpu, new Kernels(gpu), plan);
  program.write(chain.x, x);
  program.write(chain.seed, seed);
  program.setCounts({ tokens: size.tokens, targets: 1 });
  const encoder = bench.device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  program.encode(pass);
  pass.end();
  bench.device.queue.submit([encoder.finish()]);
  const bits: Uint32Array[] = [];
  for (const gain of chain.gains) {
    bits.push(new Uint32Array((await arenas.read("gradients", gain.name)).buffer));
  }
  program.destroy();
  arenas.destroy();
  gpu.destroy(gpu.nothing);
  expect(gpu.totalBytes()).toBe(0);
  return bits;
}

describe("a plan", () => {
  it("counts its bytes as they are then created, to the byte, and leaves none behind", async () => {
    const chain = deepChain(size);
    const gpu = new Gpu(bench.device);
    const arenas = new Arenas(gpu, chain.layout);
    for (const gain of chain.gains) arenas.bind(gain);
    for (const nodes of [chain.graph.nodes, chain.recomputed()]) {
      const plan = makePlan(chain.graph, gpu.traits, nodes);
      const before = gpu.totalBytes();
      let created = 0;
      const { device } = bench;
      const createBuffer = device.createBuffer.bind(device);
      device.createBuffer = (descriptor) => {
        created += descriptor.size;
        return createBuffer(descriptor);
      };
      let program: Program;
      try {
        program = await Program.create(gpu, new Kernels(gpu), plan);
      } finally {
        device.createBuffer = createBuffer;
      }
      const { activations, inputs, control } = plan.bytes;
      expect(created).toBe(activations + inputs + control);
      expect(gpu.totalBytes() - before).toBe(created);
      expect(gpu.bytes.get("activations")).toBe(activations);
      expect(gpu.bytes.get("inputs")).toBe(inputs);
      expect(activations).toBeGreaterThan(4 * size.tokens * size.width);
      program.destroy();
      expect(gpu.totalBytes()).toBe(before);
    }
    arenas.destroy();
    gpu.destroy(gpu.nothing);
  });

  it("gives the same bytes with and without recomputation, and twice over", async () => {
    const x = Float32Array.from(bench.normal(size.tokens * size.width));
    const seed = Float32Array.from(bench.normal(size.tokens * size.width));
    const { traits } = new Gpu(bench.device);
    const run = (recompute: boolean) => {
      const chain = deepChain(size);
      const nodes = recompute ? chain.recomputed() : chain.graph.nodes;
      return gradientBits(chain, makePlan(chain.graph, traits, nodes), x, seed);
    };
    const plain = await run(false);
    expect(plain.every((gradient) => gradient.some((bits) => bits !== 0))).toBe(true);
    expect(new Set(plain.map(String)).size).toBe(plain.length);
    expect(await run(false)).toEqual(plain);
    expect(await run(true)).toEqual(plain);
  });

  it("refuses more tokens than it was made for", async () => {
    const chain = deepChain(size);
    const gpu = new Gpu(bench.device);
    const arenas = new Arenas(gpu, chain.layout);
    for (const gain of chain.gains) arenas.bind(gain);
    const program = await Program.create(gpu, new Kernels(gpu), makePlan(chain.graph, gpu.traits));
    expect(() => program.setCounts({ tokens: size.tokens + 1, targets: 1 })).toThrow(
      /38 tokens were given.* 37/,
    );
    program.destroy();
    arenas.destroy();
    gpu.destroy(gpu.nothing);
  });
});

describe("a launch", () => {
  it("of more than 65 535 workgroups reaches every element, and none twice", async () => {
    // An odd number of workgroups: spread over two dimensions, the second row of them is not full.
    const width = 64;
    const rows = 65_537;
    const a = bench.normal(rows * width);
    const result = await bench.run({
      counts: { tokens: rows },
      inputs: {
        a: { shape: ["tokens", width], values: a },
        b: { shape: ["tokens", width], values: a.toReversed() },
      },
      trace: (graph, { a, b }) => ({ sum: add(graph, a!, b!) }),
    });
    const reversed = a.toReversed();
    bench.compare(
      "sum",
      result.output("sum"),
      a.map((value, i) => Math.fround(value + reversed[i]!)),
      0,
    );
  });
});
