/** Staging buffers through which a step's scalars come back without anybody waiting for them. */
import { BLOCK_BYTES, type Gpu } from "../gpu/device.ts";

/** One being filled, one being read and one to spare. */
const SLOTS = 3;

export class ScalarRing {
  private readonly gpu: Gpu;
  private readonly slots: readonly GPUBuffer[];
  private readonly bytes: number;
  private next = 0;

  /** `bytes` are copied each time, at most 256. */
  constructor(gpu: Gpu, bytes: number) {
    this.gpu = gpu;
    this.bytes = bytes;
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    this.slots = Array.from({ length: SLOTS }, (_, i) =>
      gpu.create(`scalars ${i}`, BLOCK_BYTES, "control", usage),
    );
  }

  static bytes(): number {
    return SLOTS * BLOCK_BYTES;
  }

  /** Encodes the copy of a step's scalars. `read` gives them once the step is done. */
  copyFrom(encoder: GPUCommandEncoder, source: GPUBuffer): void {
    encoder.copyBufferToBuffer(source, 0, this.slots[this.next]!, 0, this.bytes);
  }

  async read(): Promise<Float32Array> {
    const slot = this.slots[this.next]!;
    this.next = (this.next + 1) % SLOTS;
    await slot.mapAsync(GPUMapMode.READ);
    const scalars = new Float32Array(slot.getMappedRange().slice(0, this.bytes));
    slot.unmap();
    return scalars;
  }

  destroy(): void {
    for (const slot of this.slots) this.gpu.destroy(slot);
  }
}
