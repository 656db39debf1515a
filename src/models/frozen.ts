/** The base model's tensors on the device: each as it is stored, or laid out anew at equal size. */
import type { StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { toFloat32 } from "../formats/floats.ts";
import { type BufferRange, blockBytes, type Gpu } from "../gpu/device.ts";
import type { Value, ValueType } from "../graph/value.ts";

/** Where a constant's bytes come from: tensors of the checkpoint one below the other, or numbers of our own. */
export type FrozenSource =
  | {
      readonly tensors: readonly StoredTensor[];
      /** Conv1D stores [in, out]; the engine's orientation is [out, in]. */
      readonly transposed: boolean;
      readonly dtype: ValueType;
      /** The rows [start, end) of the stacked matrix, for one that is cut into slices. */
      readonly rows?: readonly [start: number, end: number];
    }
  | { readonly numbers: Float32Array }
  /** Computed from tensors while loading. */
  | { readonly compute: () => Promise<Float32Array> };

/** A checkpoint's tensors by Transformers' names; the hub's GPT-2 leaves the outer prefix away. */
export function checkpointTensor(
  tensors: ReadonlyMap<string, StoredTensor>,
  name: string,
): StoredTensor | undefined {
  return tensors.get(name) ?? tensors.get(name.slice(name.indexOf(".") + 1));
}

interface Entry {
  readonly source: FrozenSource;
  readonly byteLength: number;
  readonly values: Value[];
  range?: BufferRange;
}

export class FrozenWeights {
  private readonly gpu: Gpu;
  private readonly entries = new Map<string, Entry>();

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** How a frozen matrix lies on the device: as it is stored where a kernel decodes it, otherwise decoded. */
  typeOf({ dtype }: StoredTensor): ValueType {
    if (this.gpu.traits.decodesWhileLoading) return "f32";
    return dtype === "F16" ? "f16" : dtype === "BF16" ? "bf16" : "f32";
  }

  /** Says what a traced constant holds. Constants of one key share their bytes, in every plan. */
  bind(key: string, value: Value, byteLength: number, source: FrozenSource): void {
    let entry = this.entries.get(key);
    if (!entry) {
      entry = { source, byteLength, values: [] };
      this.entries.set(key, entry);
    }
    entry.values.push(value);
    if (entry.range) value.storage = entry.range;
  }

  /** Bytes on the device, known before anything is loaded. */
  bytes(): number {
    let total = 0;
    for (const { byteLength } of this.entries.values()) total += blockBytes(byteLength);
    return total;
  }

  /** Loads what is bound and not there yet. */
  async load(onProgress?: (loadedBytes: number, totalBytes: number) => void): Promise<void> {
    const total = this.bytes();
    let loaded = 0;
    for (const [key, entry] of this.entries) {
      if (!entry.range) {
        const bytes = await bytesOf(key, entry);
        const buffer = this.gpu.create(key, blockBytes(entry.byteLength), "base");
        const padded = bytes.length % 4 === 0 ? bytes : grown(bytes);
        this.gpu.device.queue.writeBuffer(buffer, 0, padded as Uint8Array<ArrayBuffer>);
        entry.range = { buffer, offset: 0, size: entry.byteLength };
        for (const value of entry.values) value.storage = entry.range;
      }
      loaded += blockBytes(entry.byteLength);
      onProgress?.(loaded, total);
    }
  }

  destroy(): void {
    for (const { range } of this.entries.values()) if (range) this.gpu.destroy(range.buffer);
    this.entries.clear();
  }
}

function grown(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  return padded;
}

async function bytesOf(key: string, { source, byteLength }: Entry): Promise<Uint8Array> {
  if ("compute" in source) return viewBytes(await source.compute());
  if ("numbers" in source)
    return new Uint8Array(source.numbers.buffer, source.numbers.byteOffset, byteLength);
  const parts: Uint8Array[] = [];
  for (const tensor of source.tensors) {
    const raw = await tensor.read();
    const bytes = source.dtype === "f32" ? viewBytes(toFloat32(raw, tensor.dtype)) : raw;
    parts.push(source.transposed ? transpose(bytes, tensor.shape as [number, number]) : bytes);
  }
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  if (!source.rows) return joined;
  const [start, end] = source.rows;
  const rowBytes = byteLength / (end - start);
  if (joined.length % rowBytes !== 0)
    throw new FormatError("shape-mismatch", `${key}: rows do not divide its bytes.`);
  return joined.subarray(start * rowBytes, end * rowBytes);
}

function viewBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** [rows, columns] → [columns, rows], whatever the element's size. */
export function transpose(bytes: Uint8Array, [rows, columns]: readonly [number, number]): Uint8Array {
  const size = bytes.length / (rows * columns);
  const turned = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * columns + column) * size;
      const to = (column * rows + row) * size;
      for (let byte = 0; byte < size; byte++) turned[to + byte] = bytes[from + byte]!;
    }
  }
  return turned;
}
