/** A GPUDevice with what the engine needs beside it: what kind it is, and an account of every byte it holds. */
import { DeviceError } from "../base/errors.ts";

/** `software`: a CPU that speaks WebGPU (SwiftShader). It wants other tiles than a GPU does. */
export type DeviceClass = "software" | "gpu";

export interface DeviceTraits {
  readonly deviceClass: DeviceClass;
  readonly vendor: string;
  readonly maxBinding: number;
  readonly maxBuffer: number;
  /** Whether the device was made with the feature of that name: invocations can hand values to each other. */
  readonly subgroups: boolean;
  /**
   * Whether 16-bit weights become f32 while they are loaded, instead of in every kernel that reads them: the same
   * numbers, faster where a CPU does the work, for twice the memory.
   */
  readonly decodesWhileLoading: boolean;
  /** A row of the tile table to use for every product, whatever the device: for tests and benches. */
  readonly tile?: "plain" | "software" | "gpuLarge" | "gpuSmall";
}

/** What a buffer is for; the memory bar is split along these. */
export type Purpose = "base" | "adapter" | "optimizer" | "activations" | "inputs" | "control";

export interface BufferRange {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** Buffers are made in whole 256-byte blocks: bindings align, and vec4 reads never run over the end. */
export const BLOCK_BYTES = 256;

export function blockBytes(bytes: number): number {
  return Math.max(BLOCK_BYTES, Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES);
}

export class Gpu {
  readonly device: GPUDevice;
  readonly traits: DeviceTraits;
  /** Bytes of live buffers, by purpose. */
  readonly bytes = new Map<Purpose, number>();
  /** Bound where a kernel's optional operand is absent. */
  readonly nothing: GPUBuffer;
  private readonly live = new Map<GPUBuffer, { purpose: Purpose; size: number }>();

  constructor(device: GPUDevice, traits?: Partial<DeviceTraits>) {
    this.device = device;
    const info = device.adapterInfo;
    const described =
      `${info?.vendor} ${info?.architecture} ${info?.device} ${info?.description}`.toLowerCase();
    const software = /swiftshader|llvmpipe|lavapipe|software/.test(described);
    this.traits = {
      deviceClass: software ? "software" : "gpu",
      vendor: info?.vendor ?? "",
      maxBinding: device.limits.maxStorageBufferBindingSize,
      maxBuffer: device.limits.maxBufferSize,
      subgroups: device.features.has("subgroups"),
      decodesWhileLoading: software,
      ...traits,
    };
    this.nothing = this.create("nothing", BLOCK_BYTES, "control");
  }

  /** A zeroed storage buffer of `size` bytes, which must be whole blocks. */
  create(label: string, size: number, purpose: Purpose, usage = 0): GPUBuffer {
    if (size % BLOCK_BYTES !== 0)
      throw new DeviceError("buffer-size", `${label}: ${size} bytes are not whole blocks.`);
    if (size > this.traits.maxBuffer) {
      throw new DeviceError(
        "buffer-too-large",
        `${label} needs a buffer of ${size} bytes, this device allows ${this.traits.maxBuffer}.`,
        "Use a smaller model, max_length or batch size.",
      );
    }
    const buffer = this.device.createBuffer({
      label,
      size,
      usage: usage || GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    });
    this.live.set(buffer, { purpose, size });
    this.bytes.set(purpose, (this.bytes.get(purpose) ?? 0) + size);
    return buffer;
  }

  destroy(buffer: GPUBuffer): void {
    const entry = this.live.get(buffer);
    if (!entry) return;
    this.live.delete(buffer);
    this.bytes.set(entry.purpose, this.bytes.get(entry.purpose)! - entry.size);
    buffer.destroy();
  }

  isLive(buffer: GPUBuffer): boolean {
    return this.live.has(buffer);
  }

  /** Gives a function that destroys every buffer made since: for work that failed half-way. */
  checkpoint(): () => void {
    const before = new Set(this.live.keys());
    return () => {
      for (const buffer of [...this.live.keys()]) if (!before.has(buffer)) this.destroy(buffer);
    };
  }

  /** Bytes of all live buffers. */
  totalBytes(): number {
    let total = 0;
    for (const bytes of this.bytes.values()) total += bytes;
    return total;
  }

  /** Reads a range back; for results and tests, never inside a step. */
  async read(range: BufferRange): Promise<ArrayBuffer> {
    const size = Math.ceil(range.size / 4) * 4;
    const staging = this.device.createBuffer({
      size,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(range.buffer, range.offset, staging, 0, size);
    this.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const bytes = staging.getMappedRange().slice(0, range.size);
    staging.destroy();
    return bytes;
  }
}
