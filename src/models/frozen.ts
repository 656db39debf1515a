/**
 * The base model's tensors on the device: each as it is stored, or laid out anew at equal size. Several adapted models
 * may read the same ones; whoever made them destroys them, after all that read them.
 */
import type { StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { toFloat32 } from "../formats/floats.ts";
import { BLOCK_BYTES, blockBytes, type Gpu } from "../gpu/device.ts";
import type { Graph } from "../graph/graph.ts";
import { bytesPerElement, type Value, type ValueType } from "../graph/value.ts";

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
  /** Traced before it was loaded. */
  readonly unbound: { readonly value: Value; readonly offset: number; readonly size: number }[];
  buffer?: GPUBuffer;
}

/** Bytes of an entry that hold tensors which another graph takes by themselves. */
interface Part {
  readonly entry: Entry;
  readonly offset: number;
}

export class FrozenWeights {
  private readonly gpu: Gpu;
  private readonly entries = new Map<string, Entry>();
  /** The entries that hold a tensor whole, with others before and after it. */
  private readonly holders = new Map<StoredTensor, Entry[]>();

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** How a frozen matrix lies on the device: as it is stored where a kernel decodes it, otherwise decoded. */
  typeOf({ dtype }: StoredTensor): ValueType {
    if (this.gpu.traits.decodesWhileLoading) return "f32";
    return dtype === "F16" ? "f16" : dtype === "BF16" ? "bf16" : "f32";
  }

  /**
   * Says what a traced constant holds. Constants of one key share their bytes, in every plan; so does one whose tensors
   * lie one below the other in another, where a binding may begin there.
   */
  bind(key: string, value: Value, byteLength: number, source: FrozenSource): void {
    const { entry, offset } = this.within(source) ?? {
      entry: this.entry(key, byteLength, source),
      offset: 0,
    };
    this.place(value, entry, offset, byteLength);
  }

  /** All that is here or will be, with its name, as the words of its buffer: u32 [words]. */
  words(graph: Graph): { readonly name: string; readonly words: Value }[] {
    return [...this.entries].map(([name, entry]) => {
      const size = blockBytes(entry.byteLength);
      const words = graph.constant(`words of ${name}`, [size / bytesPerElement.u32], "u32");
      this.place(words, entry, 0, size);
      return { name, words };
    });
  }

  /** Whether one of two tensors is here, and the second nowhere right below the first. */
  liesApart(first: StoredTensor, second: StoredTensor): boolean {
    const holders = [...(this.holders.get(first) ?? []), ...(this.holders.get(second) ?? [])];
    const joins = ({ source }: Entry) =>
      "tensors" in source &&
      source.tensors.some((one, i) => one === first && source.tensors[i + 1] === second);
    return holders.length > 0 && !holders.some(joins);
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
      if (!this.bufferOf(entry)) {
        const bytes = await bytesOf(key, entry);
        const buffer = this.gpu.create(key, blockBytes(entry.byteLength), "base");
        const padded = bytes.length % 4 === 0 ? bytes : grown(bytes);
        this.gpu.device.queue.writeBuffer(buffer, 0, padded as Uint8Array<ArrayBuffer>);
        entry.buffer = buffer;
      }
      for (const { value, ...range } of entry.unbound.splice(0))
        value.storage = { buffer: entry.buffer!, ...range };
      loaded += blockBytes(entry.byteLength);
      onProgress?.(loaded, total);
    }
  }

  destroy(): void {
    for (const { buffer } of this.entries.values()) if (buffer) this.gpu.destroy(buffer);
    this.entries.clear();
    this.holders.clear();
  }

  private place(value: Value, entry: Entry, offset: number, size: number): void {
    const buffer = this.bufferOf(entry);
    if (buffer) value.storage = { buffer, offset, size };
    else entry.unbound.push({ value, offset, size });
  }

  private entry(key: string, byteLength: number, source: FrozenSource): Entry {
    let entry = this.entries.get(key);
    if (!entry) {
      entry = { source, byteLength, unbound: [] };
      this.entries.set(key, entry);
      for (const tensor of wholeTensors(source))
        this.holders.set(tensor, [...(this.holders.get(tensor) ?? []), entry]);
    }
    return entry;
  }

  /** Undefined where it was not loaded, or its loading was undone. */
  private bufferOf({ buffer }: Entry): GPUBuffer | undefined {
    return buffer && this.gpu.isLive(buffer) ? buffer : undefined;
  }

  /** Where the tensors of a source lie already, if they do. */
  private within(wanted: FrozenSource): Part | undefined {
    const tensors = wholeTensors(wanted);
    for (const entry of this.holders.get(tensors[0]!) ?? []) {
      const { source } = entry;
      if (!("tensors" in source && "tensors" in wanted) || source.dtype !== wanted.dtype) continue;
      const at = source.tensors.indexOf(tensors[0]!);
      const isThere = tensors.every((tensor, i) => source.tensors[at + i] === tensor);
      const elements = source.tensors.slice(0, at).reduce((sum, { shape }) => sum + elementsOf(shape), 0);
      const offset = elements * bytesPerElement[source.dtype];
      if (isThere && offset % BLOCK_BYTES === 0) return { entry, offset };
    }
    return undefined;
  }
}

/** Of a source that is nothing but tensors, not some of their rows. */
function wholeTensors(source: FrozenSource): readonly StoredTensor[] {
  return "tensors" in source && !source.rows ? source.tensors : [];
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
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
