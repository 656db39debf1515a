/** A second place on the device for everything that trains: what was best, while training goes on. */
import { GraftError } from "../base/errors.ts";
import type { AdaptedModel } from "./adaptedModel.ts";

export class KeptValues {
  private readonly adapted: AdaptedModel;
  private buffers: readonly GPUBuffer[] | undefined;

  constructor(adapted: AdaptedModel) {
    this.adapted = adapted;
  }

  /** Bytes on the device. */
  bytes(): number {
    return this.adapted.layout.bytes();
  }

  prepare(): void {
    const { gpu, layout } = this.adapted;
    this.buffers = layout.chunkBytes.map((bytes, i) => gpu.create(`kept ${i}`, bytes, "adapter"));
  }

  /** Keeps the values as they are now. */
  keep(): void {
    this.copy(this.adapted.chunks("parameters"), this.prepared());
  }

  /** Makes the values what was kept. */
  restore(): void {
    this.copy(this.prepared(), this.adapted.chunks("parameters"));
  }

  destroy(): void {
    for (const buffer of this.buffers ?? []) this.adapted.gpu.destroy(buffer);
    this.buffers = undefined;
  }

  private copy(from: readonly GPUBuffer[], to: readonly GPUBuffer[]): void {
    const { gpu, layout } = this.adapted;
    const encoder = gpu.device.createCommandEncoder();
    for (const [i, bytes] of layout.chunkBytes.entries()) {
      encoder.copyBufferToBuffer(from[i]!, 0, to[i]!, 0, bytes);
    }
    gpu.device.queue.submit([encoder.finish()]);
  }

  private prepared(): readonly GPUBuffer[] {
    if (!this.buffers) throw new GraftError("not-prepared", "There is no place for kept values yet.");
    return this.buffers;
  }
}
