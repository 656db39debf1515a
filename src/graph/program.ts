/**
 * A plan made real: buffers, pipelines and bind groups, all created once. A step then writes the inputs, encodes
 * the list and submits; nothing is created and nothing is awaited.
 */
import { GraftError } from "../base/errors.ts";
import { type BufferRange, blockBytes, type Gpu } from "../gpu/device.ts";
import { type Kernel, type Kernels, kernelKey } from "../gpu/kernels.ts";
import { packParams } from "../gpu/wgsl.ts";
import { LIVE_BYTES, type Plan, SLOT_BYTES, sizeOf, tablesOf } from "./plan.ts";
import { type Counts, type Dispatch, maxBytes, type Operand, type Value } from "./value.ts";

/** The most workgroups that WebGPU takes in one dimension, by its default limits. */
const MAX_GROUPS = 65535;

/** Typed arrays that can be uploaded. */
export type Uploadable = Uint32Array | Int32Array | Float32Array;

export class Program {
  readonly plan: Plan;
  private readonly gpu: Gpu;
  private readonly owned: GPUBuffer[] = [];
  private readonly buffers: GPUBuffer[];
  private readonly inputBuffers = new Map<Value, GPUBuffer>();
  private readonly liveBuffer: GPUBuffer;
  private readonly live: Uint32Array<ArrayBuffer>;
  private readonly steps: readonly {
    dispatch: Dispatch;
    pipeline: GPUComputePipeline;
    bindGroup: GPUBindGroup;
  }[];

  /** Compiles what the plan needs, then allocates it. Nothing is left behind if either fails. */
  static async create(gpu: Gpu, kernels: Kernels, plan: Plan): Promise<Program> {
    const compiled = await kernels.compile(plan.dispatches.map((dispatch) => dispatch.kernel));
    const undo = gpu.checkpoint();
    try {
      return new Program(gpu, plan, compiled);
    } catch (thrown) {
      undo();
      throw thrown;
    }
  }

  private constructor(gpu: Gpu, plan: Plan, compiled: ReadonlyMap<string, Kernel>) {
    this.gpu = gpu;
    this.plan = plan;
    this.live = new Uint32Array(LIVE_BYTES / 4);
    this.buffers = plan.bufferBytes.map((bytes, i) => this.own(`activation ${i}`, bytes, "activations"));
    for (const input of plan.inputs) {
      this.inputBuffers.set(input, this.own(input.name, blockBytes(maxBytes(input)), "inputs"));
    }
    const uniform = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    this.liveBuffer = this.own("live", LIVE_BYTES, "control", uniform);
    const slots = this.own("params", Math.max(1, plan.dispatches.length) * SLOT_BYTES, "control", uniform);
    const tables = new Map<Uint32Array, GPUBuffer>();
    for (const table of tablesOf(plan.dispatches)) {
      const buffer = this.own("table", blockBytes(table.byteLength), "control");
      gpu.device.queue.writeBuffer(buffer, 0, table as Uint32Array<ArrayBuffer>);
      tables.set(table, buffer);
    }

    const packed = new Uint8Array(Math.max(1, plan.dispatches.length) * SLOT_BYTES);
    this.steps = plan.dispatches.map((dispatch, i) => {
      const kernel = compiled.get(kernelKey(dispatch.kernel))!;
      const where = `${dispatch.kernel.file}.${dispatch.kernel.entry}`;
      packed.set(new Uint8Array(packParams(kernel.shader.params, dispatch.params, where)), i * SLOT_BYTES);
      const bindGroup = gpu.device.createBindGroup({
        label: where,
        layout: kernel.layout,
        entries: kernel.bindings.map(({ name, index, kind }) => ({
          binding: index,
          resource:
            name === "live"
              ? { buffer: this.liveBuffer }
              : name === "params"
                ? { buffer: slots, offset: i * SLOT_BYTES, size: SLOT_BYTES }
                : this.resolve(dispatch, name, kind === "write", tables),
        })),
      });
      return { dispatch, pipeline: kernel.pipeline, bindGroup };
    });
    gpu.device.queue.writeBuffer(slots, 0, packed);
  }

  /** Uploads the first `count` elements (all by default) of an input. */
  write(input: Value, elements: Uploadable, count = elements.length): void {
    const buffer = this.inputBuffers.get(input);
    // An input that no needed node reads has no buffer: nothing to write.
    if (!buffer || count === 0) return;
    this.gpu.device.queue.writeBuffer(buffer, 0, elements as Uint32Array<ArrayBuffer>, 0, count);
  }

  /** Tells the kernels how many there are now. Precedes `encode`. */
  setCounts(counts: Counts): void {
    for (const extent of this.plan.extents) {
      const size = extent.live(counts);
      if (size > extent.max) {
        throw new GraftError(
          "plan-exceeded",
          `${size} ${extent.name} were given, the plan was made for ${extent.max}.`,
        );
      }
      this.live[extent.index] = size;
    }
    this.gpu.device.queue.writeBuffer(this.liveBuffer, 0, this.live, 0, this.plan.extents.length);
  }

  /** Encodes dispatches `from` to `to` of the plan into a pass. Returns how many were launched. */
  encode(pass: GPUComputePassEncoder, from = 0, to = this.steps.length): number {
    const size = sizeOf(this.live);
    let bound: GPUComputePipeline | undefined;
    let launched = 0;
    for (let i = from; i < to; i++) {
      const { dispatch, pipeline, bindGroup } = this.steps[i]!;
      const groups = dispatch.workgroups(size);
      if (groups === 0) continue;
      if (pipeline !== bound) pass.setPipeline(pipeline);
      bound = pipeline;
      pass.setBindGroup(0, bindGroup);
      const rows = Math.ceil(groups / MAX_GROUPS);
      pass.dispatchWorkgroups(Math.ceil(groups / rows), rows);
      launched++;
    }
    return launched;
  }

  /** Encodes the whole plan as a pass of its own. */
  encodePass(encoder: GPUCommandEncoder): void {
    const pass = encoder.beginComputePass();
    this.encode(pass);
    pass.end();
  }

  /** Runs the whole plan, after what has been submitted. */
  submit(): void {
    const encoder = this.gpu.device.createCommandEncoder();
    this.encodePass(encoder);
    this.gpu.device.queue.submit([encoder.finish()]);
  }

  /** Where a kept or external value lies. */
  rangeOf(value: Value): BufferRange {
    const planned = this.plan.bufferOf.get(value);
    if (planned !== undefined) return { buffer: this.buffers[planned]!, offset: 0, size: maxBytes(value) };
    const input = this.inputBuffers.get(value);
    if (input) return { buffer: input, offset: 0, size: maxBytes(value) };
    if (!value.storage)
      throw new GraftError("no-storage", `${value.name} (${value.kind}) was given no storage.`);
    return value.storage;
  }

  /** Buffers of computed values, for tests that poison them. */
  activationBuffers(): readonly GPUBuffer[] {
    return this.buffers;
  }

  destroy(): void {
    for (const buffer of this.owned) this.gpu.destroy(buffer);
  }

  private own(
    label: string,
    bytes: number,
    purpose: "activations" | "inputs" | "control",
    usage = 0,
  ): GPUBuffer {
    const buffer = this.gpu.create(label, bytes, purpose, usage);
    this.owned.push(buffer);
    return buffer;
  }

  private resolve(
    dispatch: Dispatch,
    name: string,
    written: boolean,
    tables: ReadonlyMap<Uint32Array, GPUBuffer>,
  ): GPUBufferBinding {
    const where = `${dispatch.kernel.file}.${dispatch.kernel.entry}`;
    if (!(name in dispatch.bindings))
      throw new GraftError("binding", `${where}: binding "${name}" was not given.`);
    const operand: Operand = dispatch.bindings[name];
    if (!operand) {
      if (written) throw new GraftError("binding", `${where}: "${name}" is written and must be given.`);
      return { buffer: this.gpu.nothing };
    }
    if ("table" in operand) return { buffer: tables.get(operand.table)! };
    if ("whole" in operand) return { buffer: this.rangeOf(operand.whole).buffer };
    const { buffer, offset, size } = this.rangeOf(operand);
    // Whole blocks, so that a vec4 read at the end stays inside.
    return { buffer, offset, size: blockBytes(size) };
  }
}
