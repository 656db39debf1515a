/**
 * Runs one traced operation on the device: fresh random input with its seed printed on failure, every output
 * poisoned with NaN beforehand, capacities larger than what is live, nothing written beyond what is live, and
 * comparison with a float64 oracle.
 */
import { requestNodeDevice } from "../../src/cli/device.ts";
import { type DeviceTraits, Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import { ArenaLayout, Arenas } from "../../src/graph/arena.ts";
import { differentiate } from "../../src/graph/backward.ts";
import { Graph } from "../../src/graph/graph.ts";
import { makePlan, type Plan } from "../../src/graph/plan.ts";
import { Program, type Uploadable } from "../../src/graph/program.ts";
import type { Counts, Dim, Value, ValueType } from "../../src/graph/value.ts";
import { CANARY, fill, findStray, type Margin, POISON } from "./margins.ts";

/** A tensor under test. A first dimension of "tokens" or "targets" is the micro-batch's extent. */
export interface Tensor {
  readonly shape: readonly (number | "tokens" | "targets")[];
  readonly values: Float64Array | Uint32Array | Int32Array;
  /** Whether a gradient is wanted. */
  readonly grad?: boolean;
  /** Stored form of a constant; f32 by default. Bytes then come from `bytes`. */
  readonly dtype?: ValueType;
  readonly bytes?: Uint8Array;
}

export interface OperationRun {
  readonly counts: Partial<Counts>;
  /** What the plan is made for; more than is live by default, so that a kernel that runs over is seen. */
  readonly capacity?: Partial<Counts>;
  readonly inputs?: Readonly<Record<string, Tensor>>;
  readonly constants?: Readonly<Record<string, Tensor>>;
  /** Trainable tensors: their gradients start at the given (random) values, since kernels add to what is there. */
  readonly parameters?: Readonly<Record<string, Tensor>>;
  /** State outside the plan, with its starting values; read back afterwards. */
  readonly states?: Readonly<Record<string, Tensor>>;
  trace(graph: Graph, values: Readonly<Record<string, Value>>): Readonly<Record<string, Value>>;
  /** Gradients of named outputs, which start the backward. `null`: the trace marks its own loss. */
  readonly seeds?: Readonly<Record<string, Float64Array>> | null;
  readonly traits?: Partial<DeviceTraits>;
}

export interface OperationResult {
  /** Live part of a named output. */
  output(name: string): Float64Array;
  /** Live part of an input's gradient, or the change of a parameter's. */
  gradient(name: string): Float64Array;
  state(name: string): Float64Array;
}

export async function openBench(): Promise<KernelBench> {
  const node = await requestNodeDevice();
  return new KernelBench(node.device, node);
}

export class KernelBench {
  readonly device: GPUDevice;
  readonly seed: number;
  /** Keeps Dawn's objects alive for as long as the bench is used. */
  private readonly keepAlive: unknown;
  private state: number;
  /** How near each comparison came to failing, at most, as a part of what it allows. */
  readonly shares = new Map<string, number>();
  /** Kernels of earlier runs: a pipeline that lives is not compiled again. */
  private readonly kernels: Kernels[] = [];
  private readonly errors: string[] = [];

  constructor(device: GPUDevice, keepAlive: unknown) {
    this.device = device;
    this.keepAlive = keepAlive;
    this.seed = Number(process.env.GRAFT_SEED ?? Math.floor(Math.random() * 2 ** 31));
    this.state = this.seed;
    device.addEventListener("uncapturederror", (event) => {
      this.errors.push((event as GPUUncapturedErrorEvent).error.message);
    });
  }

  close(): void {
    this.device.destroy();
    void this.keepAlive;
  }

  /** Uniform in [0, 1); mulberry32. */
  uniform(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** Roughly normal values that f32 holds exactly, so that oracle and kernel see the same numbers. */
  normal(count: number, scale = 1): Float64Array {
    return Float64Array.from({ length: count }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
      return Math.fround(scale * radius * Math.cos(2 * Math.PI * this.uniform()));
    });
  }

  /** Integers in [0, below). */
  integers(count: number, below: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => Math.floor(this.uniform() * below));
  }

  /** What the device passes for, unless a run says otherwise. */
  private traits: Partial<DeviceTraits> = {};

  /** Does `work` as if on another kind of device: its tiles and lanes, on the device at hand. */
  async as(traits: Partial<DeviceTraits>, work: () => Promise<void>): Promise<void> {
    const before = this.traits;
    this.traits = traits;
    await work().finally(() => {
      this.traits = before;
    });
  }

  async run(operation: OperationRun): Promise<OperationResult> {
    const counts: Counts = { tokens: 1, targets: 1, ...operation.counts };
    const capacity: Counts = {
      tokens: counts.tokens + 3,
      targets: counts.targets + 3,
      ...operation.capacity,
    };
    const gpu = new Gpu(this.device, { ...this.traits, ...operation.traits });
    const graph = new Graph(capacity.tokens, capacity.targets);
    const layout = new ArenaLayout(gpu.traits.maxBinding);
    const values: Record<string, Value> = {};
    const dims = (shape: Tensor["shape"]): Dim[] =>
      shape.map((dim) => (dim === "tokens" ? graph.tokens : dim === "targets" ? graph.targets : dim));
    const typeOf = (tensor: Tensor): ValueType =>
      tensor.dtype ??
      (tensor.values instanceof Uint32Array ? "u32" : tensor.values instanceof Int32Array ? "i32" : "f32");

    for (const [name, tensor] of Object.entries(operation.inputs ?? {})) {
      values[name] = graph.input(name, dims(tensor.shape), typeOf(tensor), tensor.grad ?? false);
    }
    for (const [name, tensor] of Object.entries(operation.constants ?? {})) {
      values[name] = graph.constant(name, dims(tensor.shape), typeOf(tensor));
    }
    for (const [name, tensor] of Object.entries(operation.states ?? {})) {
      values[name] = graph.state(name, dims(tensor.shape), typeOf(tensor));
    }
    for (const [name, tensor] of Object.entries(operation.parameters ?? {})) {
      const shape = tensor.shape as readonly number[];
      values[name] = graph.parameter(name, shape, layout.place(name, shape).place, tensor.grad ?? true);
    }
    const outputs = operation.trace(graph, values);
    const gradients = this.differentiate(operation, graph, outputs);
    for (const [name, value] of Object.entries(outputs)) graph.keep(name, value);
    for (const [name, value] of Object.entries(values)) {
      const gradient = gradients.get(value);
      if (gradient && value.kind === "input") graph.keep(`d ${name}`, gradient);
    }

    const plan = withIdleGroups(makePlan(graph, gpu.traits));
    const arenas = new Arenas(gpu, layout);
    const owned: GPUBuffer[] = [];
    const margins: Margin[] = [];
    const external = (name: string, tensor: Tensor, state = false): void => {
      const bytes = tensor.bytes ?? new Uint8Array(toUpload(tensor.values).buffer);
      const buffer = gpu.create(name, Math.ceil(Math.max(1, bytes.length) / 256) * 256, "base");
      if (state) {
        fill(this.device, buffer, CANARY);
        margins.push({ name, buffer, filledWith: CANARY, owned: (word) => 4 * word < bytes.length });
      }
      const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
      padded.set(bytes);
      this.device.queue.writeBuffer(buffer, 0, padded);
      values[name]!.storage = { buffer, offset: 0, size: bytes.length };
      owned.push(buffer);
    };
    for (const [name, tensor] of Object.entries(operation.constants ?? {})) external(name, tensor);
    for (const [name, tensor] of Object.entries(operation.states ?? {})) external(name, tensor, true);
    arenas.chunks.gradients.forEach((buffer, chunk) => {
      fill(this.device, buffer, CANARY);
      const ends = [...layout.tensors.values()]
        .filter(({ place }) => place.chunk === chunk)
        .map(({ place, shape }) => [
          place.byteOffset,
          place.byteOffset + 4 * shape.reduce((n, dim) => n * dim, 1),
        ]);
      margins.push({
        name: `gradients ${chunk}`,
        buffer,
        filledWith: CANARY,
        owned: (word) => ends.some(([start, end]) => start! <= 4 * word && 4 * word < end!),
      });
    });
    const before = new Map<string, Float64Array>();
    for (const [name, tensor] of Object.entries(operation.parameters ?? {})) {
      arenas.bind(values[name]!);
      arenas.write("parameters", name, Float32Array.from(tensor.values));
      const start = this.normal(tensor.values.length);
      before.set(name, start);
      arenas.write("gradients", name, Float32Array.from(start));
    }
    // Bind groups are made with the program: what lives outside has its storage by now.
    const kernels = new Kernels(gpu);
    this.kernels.push(kernels);
    const program = await Program.create(gpu, kernels, plan);
    for (const buffer of program.activationBuffers()) fill(this.device, buffer, POISON);
    // Integers stay 0: a place or an index that an earlier micro-batch could have left.
    for (const input of plan.inputs) {
      if (input.dtype === "f32") fill(this.device, program.rangeOf(input).buffer, POISON);
    }
    for (const [name, tensor] of Object.entries(operation.inputs ?? {})) {
      program.write(values[name]!, toUpload(tensor.values));
    }
    for (const [name, seed] of Object.entries(operation.seeds ?? {})) {
      program.write(this.seedsOf.get(name)!, Float32Array.from(seed));
    }
    program.setCounts(counts);
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    program.encode(pass);
    pass.end();
    this.device.queue.submit([encoder.finish()]);

    const live = (value: Value): number =>
      value.shape.reduce<number>((n, dim) => n * (typeof dim === "number" ? dim : dim.live(counts)), 1);
    program.activationBuffers().forEach((buffer, place) => {
      const words = [...plan.bufferOf].map(([value, at]) => (at === place ? live(value) : 0));
      const most = Math.max(...words);
      const name = [...plan.bufferOf].find(([, at]) => at === place)?.[0].name ?? buffer.label;
      margins.push({ name, buffer, filledWith: POISON, owned: (word) => word < most });
    });
    const stray = await findStray(gpu, margins);
    const read = async (value: Value): Promise<Float64Array> => {
      const bytes = await gpu.read({ ...program.rangeOf(value), size: 4 * live(value) });
      const typed =
        value.dtype === "u32"
          ? new Uint32Array(bytes)
          : value.dtype === "i32"
            ? new Int32Array(bytes)
            : new Float32Array(bytes);
      return Float64Array.from(typed);
    };
    const results = new Map<string, Float64Array>();
    for (const [name, value] of graph.kept) results.set(name, await read(value));
    for (const name of Object.keys(operation.states ?? {}))
      results.set(`state ${name}`, await read(values[name]!));
    for (const [name, start] of before) {
      const after = await arenas.read("gradients", name);
      const added = Float64Array.from(after, (value, i) => value - start[i]!);
      results.set(`d ${name}`, added);
      // A sum in f32 is known to half a unit of its last place, however small what was added to it.
      const largest = after.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      this.resolutions.set(added, largest * 2 ** -23);
    }
    program.destroy();
    arenas.destroy();
    for (const buffer of owned) gpu.destroy(buffer);
    gpu.destroy(gpu.nothing);
    if (this.errors.length > 0) throw new Error(this.errors.splice(0).join("\n"));
    if (stray) throw new Error(`${stray} (GRAFT_SEED=${this.seed})`);
    const need = (key: string): Float64Array => {
      const found = results.get(key);
      if (!found) throw new Error(`the run has no "${key}"; it has ${[...results.keys()].join(", ")}`);
      return found;
    };
    return {
      output: need,
      gradient: (name) => need(`d ${name}`),
      state: (name) => need(`state ${name}`),
    };
  }

  /**
   * Largest error over largest value. Both sides must be finite, and the oracle's values not all zero: an
   * all-zero result would pass any tolerance.
   */
  compare(what: string, actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
    const where = `${what} (GRAFT_SEED=${this.seed})`;
    if (actual.length !== expected.length) {
      throw new Error(`${where}: ${actual.length} values, expected ${expected.length}`);
    }
    let largest = 0;
    let error = 0;
    let at = -1;
    for (let i = 0; i < expected.length; i++) {
      if (!Number.isFinite(actual[i]!))
        throw new Error(`${where}: [${i}] is ${actual[i]}, expected ${expected[i]}`);
      largest = Math.max(largest, Math.abs(expected[i]!));
      const off = Math.abs(actual[i]! - expected[i]!);
      if (off > error) {
        error = off;
        at = i;
      }
    }
    if (largest === 0) throw new Error(`${where}: the oracle is zero everywhere, which proves nothing`);
    const allowed = tolerance * largest + (this.resolutions.get(actual) ?? 0);
    this.shares.set(what, Math.max(this.shares.get(what) ?? 0, error && error / allowed));
    if (error > allowed) {
      throw new Error(
        `${where}: [${at}] is ${actual[at]}, expected ${expected[at]}; error ${error / largest} of the largest, allowed ${tolerance}`,
      );
    }
  }

  private readonly seedsOf = new Map<string, Value>();
  /** How finely a gradient is known that was read as what a sum grew by. */
  private readonly resolutions = new WeakMap<object, number>();

  private differentiate(
    operation: OperationRun,
    graph: Graph,
    outputs: Readonly<Record<string, Value>>,
  ): Map<Value, Value> {
    this.seedsOf.clear();
    if (operation.seeds === undefined) return new Map();
    const seeds = new Map<Value, Value>();
    for (const name of Object.keys(operation.seeds ?? {})) {
      const output = outputs[name];
      if (!output) throw new Error(`there is no output "${name}" to seed`);
      const seed = graph.input(`seed ${name}`, output.shape, "f32");
      this.seedsOf.set(name, seed);
      seeds.set(output, seed);
    }
    return differentiate(graph, seeds);
  }
}

/**
 * A workgroup more than each launch of several needs: where they are spread over two dimensions, some have nothing to
 * do, and must do nothing.
 */
function withIdleGroups(plan: Plan): Plan {
  const dispatches = plan.dispatches.map((dispatch) => ({
    ...dispatch,
    workgroups: (size: (dim: Dim) => number) => {
      const groups = dispatch.workgroups(size);
      return groups > 1 ? groups + 1 : groups;
    },
  }));
  return { ...plan, dispatches };
}

function toUpload(values: Tensor["values"]): Uploadable {
  return values instanceof Float64Array ? Float32Array.from(values) : values;
}
