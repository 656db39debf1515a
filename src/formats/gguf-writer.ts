import type { FileStream } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { GGML_TYPES, type GgmlType, ggmlByteCount } from "./ggml.ts";
import {
  ALIGNMENT_KEY,
  alignUp,
  DEFAULT_ALIGNMENT,
  GGUF_TYPES,
  type GgufArray,
  type GgufNumberType,
  type GgufValue,
  isAlignment,
  MAX_DIMENSIONS,
  MAX_NAME_BYTES,
  NUMBER_ARRAYS,
} from "./gguf-values.ts";
import { exactly } from "./sources.ts";

/** A tensor to write. Its bytes are asked for when it is its turn, and may come in pieces. */
export interface GgufTensorToWrite {
  readonly name: string;
  readonly type: GgmlType;
  /** Row-major, the slowest dimension first. */
  readonly shape: readonly number[];
  pieces(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/**
 * A GGUF file (version 3, little-endian): the header first, then each tensor as it gives itself, so that no more than
 * a piece is held. The same bytes as gguf-py writes for the same keys and tensors in the same order. Throws
 * FormatError: at once for what the format cannot hold, and for a tensor that gives another number of bytes than its
 * shape has when it is its turn.
 */
export function writeGguf(
  name: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensorToWrite[],
): FileStream {
  const alignment = alignmentOf(metadata);
  const header = new HeaderBytes();
  header.u32(0x46554747);
  header.u32(3);
  header.u64(tensors.length);
  header.u64(metadata.size);
  for (const [key, value] of metadata) {
    header.string(key);
    header.u32(GGUF_TYPES.indexOf(value.type));
    writeValue(header, value);
  }
  const byteLengths = new Map<string, number>();
  let offset = 0;
  for (const tensor of tensors) {
    if (byteLengths.has(tensor.name)) refuse(tensor.name, "is given twice");
    const byteLength = byteCountOf(tensor);
    byteLengths.set(tensor.name, byteLength);
    header.string(tensor.name);
    header.u32(tensor.shape.length);
    for (const size of [...tensor.shape].reverse()) header.u64(size);
    header.u32(GGML_TYPES[tensor.type].id);
    header.u64(offset);
    offset = alignUp(offset + byteLength, alignment);
  }
  return {
    name,
    byteLength: alignUp(header.length, alignment) + offset,
    async *pieces() {
      yield* header.pieces();
      yield* padding(header.length, alignment);
      for (const tensor of tensors) {
        const wanted = byteLengths.get(tensor.name)!;
        yield* exactly(wanted, tensor.pieces(), (written) =>
          refuse(tensor.name, `gave ${written} bytes, [${tensor.shape}] needs ${wanted}`),
        );
        yield* padding(wanted, alignment);
      }
    },
  };
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const stated = metadata.get(ALIGNMENT_KEY);
  if (!stated) return DEFAULT_ALIGNMENT;
  if (stated.type === "u32" && isAlignment(stated.value)) return stated.value;
  throw new FormatError(
    "gguf-write",
    `${ALIGNMENT_KEY} is ${stated.type} ${show(String(stated.value))}, expected a u32 that is a power of two.`,
  );
}

function byteCountOf({ name, type, shape }: GgufTensorToWrite): number {
  const nameBytes = encoder.encode(name).length;
  if (nameBytes < 1 || nameBytes > MAX_NAME_BYTES) {
    refuse(name, `has a name of ${nameBytes} bytes, 1 to ${MAX_NAME_BYTES} are allowed`);
  }
  if (shape.length > MAX_DIMENSIONS) {
    refuse(name, `has ${shape.length} dimensions, ${MAX_DIMENSIONS} are allowed`);
  }
  return (
    ggmlByteCount(type, shape) ??
    refuse(name, `has rows of ${shape.at(-1)} elements, which ${type} cannot hold in whole blocks`)
  );
}

function refuse(name: string, found: string): never {
  throw new FormatError("gguf-write", `Tensor ${show(name)} ${found}.`);
}

function* padding(length: number, alignment: number): Generator<Uint8Array> {
  const count = alignUp(length, alignment) - length;
  if (count > 0) yield new Uint8Array(count);
}

function writeValue(header: HeaderBytes, { type, value }: GgufValue): void {
  switch (type) {
    case "string":
      header.string(value);
      break;
    case "bool":
      header.bytes(Uint8Array.of(value ? 1 : 0));
      break;
    case "array":
      writeArray(header, value);
      break;
    case "u64":
    case "i64":
      header.bytes(bytesOf(NUMBER_ARRAYS[type].of(value)));
      break;
    default:
      header.bytes(bytesOf(NUMBER_ARRAYS[type].of(checkNumber(type, value))));
  }
}

function checkNumber(type: GgufNumberType, value: number): number {
  if (/^f/.test(type)) return value;
  const written = NUMBER_ARRAYS[type as "u32"].of(value)[0];
  if (written === value) return value;
  throw new FormatError("gguf-write", `${value} is no value of type ${type}.`);
}

function writeArray(header: HeaderBytes, { element, values }: GgufArray): void {
  header.u32(GGUF_TYPES.indexOf(element));
  header.u64(values.length);
  switch (element) {
    case "string":
      for (let i = 0; i < values.length; i++) header.string(values.at(i)!);
      break;
    case "array":
      for (const inner of values) writeArray(header, inner);
      break;
    default:
      header.bytes(bytesOf(values));
  }
}

function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** A header as it grows, in pieces of up to a mebibyte. */
class HeaderBytes {
  private readonly done: Uint8Array[] = [];
  private piece = new Uint8Array(PIECE_BYTES);
  private at = 0;
  length = 0;

  u32(value: number): void {
    this.bytes(bytesOf(Uint32Array.of(value)));
  }

  u64(value: number): void {
    this.bytes(bytesOf(BigUint64Array.of(BigInt(value))));
  }

  string(text: string): void {
    const bytes = encoder.encode(text);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  bytes(bytes: Uint8Array): void {
    if (this.at + bytes.length > this.piece.length) {
      this.done.push(this.piece.subarray(0, this.at));
      this.piece = new Uint8Array(Math.max(PIECE_BYTES, bytes.length));
      this.at = 0;
    }
    this.piece.set(bytes, this.at);
    this.at += bytes.length;
    this.length += bytes.length;
  }

  pieces(): Uint8Array[] {
    return [...this.done, this.piece.subarray(0, this.at)];
  }
}

const PIECE_BYTES = 1 << 20;
const encoder = new TextEncoder();
