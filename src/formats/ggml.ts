import { FormatError } from "../base/errors.ts";
import { decodeF16, encodeF16, fromFloat32, toFloat32 } from "./floats.ts";

/** An element type of GGUF tensors: its number in files, and how many bytes a block of so many elements takes. */
interface GgmlLayout {
  readonly id: number;
  readonly blockElements: number;
  readonly blockBytes: number;
}

const layout = (id: number, blockElements: number, blockBytes: number): GgmlLayout => ({
  id,
  blockElements,
  blockBytes,
});

/** Every type that llama.cpp stores. Those that are decoded here are in `toFloat32OfGgml`. */
export const GGML_TYPES = {
  F32: layout(0, 1, 4),
  F16: layout(1, 1, 2),
  Q4_0: layout(2, 32, 18),
  Q4_1: layout(3, 32, 20),
  Q5_0: layout(6, 32, 22),
  Q5_1: layout(7, 32, 24),
  Q8_0: layout(8, 32, 34),
  Q2_K: layout(10, 256, 84),
  Q3_K: layout(11, 256, 110),
  Q4_K: layout(12, 256, 144),
  Q5_K: layout(13, 256, 176),
  Q6_K: layout(14, 256, 210),
  IQ2_XXS: layout(16, 256, 66),
  IQ2_XS: layout(17, 256, 74),
  IQ3_XXS: layout(18, 256, 98),
  IQ1_S: layout(19, 256, 50),
  IQ4_NL: layout(20, 32, 18),
  IQ3_S: layout(21, 256, 110),
  IQ2_S: layout(22, 256, 82),
  IQ4_XS: layout(23, 256, 136),
  I8: layout(24, 1, 1),
  I16: layout(25, 1, 2),
  I32: layout(26, 1, 4),
  I64: layout(27, 1, 8),
  F64: layout(28, 1, 8),
  IQ1_M: layout(29, 256, 56),
  BF16: layout(30, 1, 2),
  TQ1_0: layout(34, 256, 54),
  TQ2_0: layout(35, 256, 66),
  MXFP4: layout(39, 32, 17),
  NVFP4: layout(40, 64, 36),
  Q1_0: layout(41, 128, 18),
} as const satisfies Record<string, GgmlLayout>;

export type GgmlType = keyof typeof GGML_TYPES;

const BY_ID: ReadonlyMap<number, GgmlType> = new Map(
  (Object.keys(GGML_TYPES) as GgmlType[]).map((type) => [GGML_TYPES[type].id, type]),
);

/** The type of a number in a file, or undefined where nobody knows it. */
export function ggmlTypeOf(id: number): GgmlType | undefined {
  return BY_ID.get(id);
}

/** Bytes of a tensor. Undefined where its rows are no whole number of blocks, or it has more than 2^53 elements or bytes. */
export function ggmlByteCount(type: GgmlType, shape: readonly number[]): number | undefined {
  const { blockElements, blockBytes } = GGML_TYPES[type];
  if ((shape.at(-1) ?? 1) % blockElements !== 0) return undefined;
  // A zero among huge dimensions makes an empty tensor, but the dimensions are still not to be believed.
  const elements = shape.reduce((product, size) => product * Math.max(size, 1), 1);
  const bytes = (elements / blockElements) * blockBytes;
  if (Math.max(elements, bytes) > Number.MAX_SAFE_INTEGER) return undefined;
  return shape.includes(0) ? 0 : bytes;
}

/** The types that `toFloat32OfGgml` reads. */
export const DECODED_TYPES: readonly GgmlType[] = ["F64", "F32", "F16", "BF16", "Q8_0"];

/** The values of whole blocks of a tensor as f32: exact for F32, F16, BF16 and Q8_0. Throws FormatError for other types. */
export function toFloat32OfGgml(bytes: Uint8Array, type: GgmlType): Float32Array {
  switch (type) {
    case "F64":
    case "F32":
    case "F16":
    case "BF16":
      return toFloat32(bytes, type);
    case "Q8_0":
      return decodeQ8(bytes);
    default:
      throw new FormatError(
        "gguf-type",
        `Tensors of type ${type} cannot be turned into numbers here.`,
        "F32, F16, BF16 and Q8_0 can: convert the model to one of these.",
      );
  }
}

/** A block of Q8_0: an f16 scale d, then 32 signed bytes q; each value is d·q. */
function decodeQ8(bytes: Uint8Array): Float32Array {
  const { blockBytes, blockElements } = GGML_TYPES.Q8_0;
  if (bytes.byteLength % blockBytes !== 0) {
    throw new FormatError("gguf-blocks", `${bytes.byteLength} bytes are no whole number of Q8_0 blocks.`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array((bytes.byteLength / blockBytes) * blockElements);
  for (let block = 0, at = 0; at < bytes.byteLength; block++, at += blockBytes) {
    const scale = decodeF16(view.getUint16(at, true));
    for (let i = 0; i < blockElements; i++) {
      values[block * blockElements + i] = scale * view.getInt8(at + 2 + i);
    }
  }
  return values;
}

/** The types that values are written as. */
export type WrittenGgmlType = "F32" | "F16" | "Q8_0";

/** Values of whole blocks as a tensor's bytes, the same as gguf-py's `quantize` gives. What f16 cannot hold becomes an infinity. */
export function fromFloat32ToGgml(values: Float32Array, type: WrittenGgmlType): Uint8Array {
  return type === "Q8_0" ? encodeQ8(values) : fromFloat32(values, type);
}

/** The largest of a block becomes ±127. Each step is rounded to f32, and halves go away from zero, as in ggml. */
function encodeQ8(values: Float32Array): Uint8Array {
  const { blockBytes, blockElements } = GGML_TYPES.Q8_0;
  const bytes = new Uint8Array((values.length / blockElements) * blockBytes);
  const view = new DataView(bytes.buffer);
  for (let start = 0, at = 0; start < values.length; start += blockElements, at += blockBytes) {
    let largest = 0;
    for (let i = start; i < start + blockElements; i++) largest = Math.max(largest, Math.abs(values[i]!));
    const scale = Math.fround(largest / 127);
    const perStep = scale === 0 ? 0 : Math.fround(1 / scale);
    view.setUint16(at, encodeF16(scale), true);
    for (let i = 0; i < blockElements; i++) {
      const steps = Math.fround(values[start + i]! * perStep);
      view.setInt8(at + 2 + i, Math.sign(steps) * Math.floor(Math.abs(steps) + 0.5));
    }
  }
  return bytes;
}
