/** What lies around a kernel's results and is nobody's to write: filled before a run, looked at after it. */
import type { Gpu } from "../../src/gpu/device.ts";

/**
 * A signalling NaN: whatever is computed from what no one wrote is seen, and so is where it went, since arithmetic
 * makes a quiet one of it.
 */
export const POISON = 0x7fa00000;
/** 7: in memory that kernels add to, where NaN plus anything would be the same NaN. */
export const CANARY = 0x40e00000;

export interface Margin {
  readonly name: string;
  readonly buffer: GPUBuffer;
  readonly filledWith: number;
  /** Whether the 32-bit word at this place belongs to a value. */
  owned(word: number): boolean;
}

export function fill(device: GPUDevice, buffer: GPUBuffer, word: number): void {
  device.queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(word));
}

/** The first word outside all values that was written, or undefined. */
export async function findStray(gpu: Gpu, margins: readonly Margin[]): Promise<string | undefined> {
  for (const { name, buffer, filledWith, owned } of margins) {
    const words = new Uint32Array(await gpu.read({ buffer, offset: 0, size: buffer.size }));
    for (let word = 0; word < words.length; word++) {
      if (words[word] !== filledWith && !owned(word)) {
        return `word ${word} of "${name}" was written, which belongs to no live row`;
      }
    }
  }
  return undefined;
}
