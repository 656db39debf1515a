import type { StoredType } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";

/** The types that `toFloat32` reads. */
export const FLOAT_TYPES: readonly StoredType[] = ["F32", "F16", "BF16", "F64"];

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/**
 * The values of a float tensor as f32. F16 and BF16 decode exactly, subnormals and infinities included; F64 is
 * rounded to nearest even. `bytes` may lie at any offset.
 */
export function toFloat32(bytes: Uint8Array, dtype: StoredType): Float32Array {
  switch (dtype) {
    case "F32":
      return new Float32Array(aligned(bytes, 4));
    case "F16":
      return decodeHalves(new Uint16Array(aligned(bytes, 2)));
    case "BF16":
      return decodeBrainFloats(new Uint16Array(aligned(bytes, 2)));
    case "F64":
      return Float32Array.from(new Float64Array(aligned(bytes, 8)));
    case "I64":
    case "I32":
    case "I16":
    case "I8":
    case "U8":
    case "BOOL":
      throw new FormatError("not-float", `A tensor of type ${dtype} was given where weights were expected.`);
    default:
      return dtype satisfies never;
  }
}

/** Values as a float tensor's bytes, rounded to nearest even. What f16 cannot hold becomes an infinity. */
export function fromFloat32(values: Float32Array, dtype: StoredType): Uint8Array {
  switch (dtype) {
    case "F32":
      return bytesOf(values);
    case "F16":
      return bytesOf(encodeEach(values, encodeF16));
    case "BF16":
      return bytesOf(encodeEach(values, encodeBf16));
    case "F64":
      return bytesOf(Float64Array.from(values));
    case "I64":
    case "I32":
    case "I16":
    case "I8":
    case "U8":
    case "BOOL":
      throw new FormatError("not-float", `Weights were to be written as type ${dtype}.`);
    default:
      return dtype satisfies never;
  }
}

function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** A plain loop: whole models come through here, and `from` with a function took forty times as long. */
function encodeEach(values: Float32Array, encode: (value: number) => number): Uint16Array {
  const encoded = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) encoded[i] = encode(values[i]!);
  return encoded;
}

let halfValues: Float32Array | undefined;

function decodeHalves(halves: Uint16Array): Float32Array {
  halfValues ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => decodeF16(bits));
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) values[i] = halfValues[halves[i]!]!;
  return values;
}

function decodeBrainFloats(upperHalves: Uint16Array): Float32Array {
  const words = new Uint32Array(upperHalves.length);
  for (let i = 0; i < words.length; i++) words[i] = upperHalves[i]! << 16;
  return new Float32Array(words.buffer);
}

export function decodeBf16(bits: number): number {
  word[0] = bits << 16;
  return single[0]!;
}

export function decodeF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** Rounds to nearest, ties to even; a NaN stays a (quiet) NaN. */
export function encodeBf16(value: number): number {
  single[0] = value;
  const bits = word[0]!;
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Rounds to nearest, ties to even; beyond 65519.99 gives an infinity. */
export function encodeF16(value: number): number {
  single[0] = value;
  const bits = word[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00;
  // 65520 and more.
  if (size >= 0x477ff000) return sign | 0x7c00;
  // Below 2^-14 the step is that of the subnormals, 2^-24; the carry of a rounding up runs into the exponent by itself.
  if (size < 0x38800000) return sign | roundEven(Math.abs(single[0]!) * 2 ** 24);
  // The exponent's bias goes from 127 to 15, and 13 bits of the fraction go.
  return sign | ((size - (112 << 23) + 0xfff + ((size >>> 13) & 1)) >>> 13);
}

function roundEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** A copy that starts at its buffer's start, as typed arrays of wider elements need. */
function aligned(bytes: Uint8Array, width: number): ArrayBuffer {
  if (bytes.byteLength % width !== 0) {
    const found = `${bytes.byteLength} bytes are no whole number`;
    throw new FormatError("float-length", `${found} of ${width}-byte elements.`);
  }
  return new Uint8Array(bytes).buffer;
}
