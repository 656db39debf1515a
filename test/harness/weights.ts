/** Random weights as they lie on disk, together with the values that they decode to. */
import type { KernelBench, Tensor } from "./bench.ts";

export type StoredFormat = "f32" | "f16" | "bf16";

/** Values that `format` holds exactly, and their bytes. Subnormal f16 are among them. */
export function storedWeight(
  bench: KernelBench,
  format: StoredFormat,
  shape: readonly number[],
): { tensor: Tensor; values: Float64Array } {
  const count = shape.reduce((product, size) => product * size, 1);
  const normal = bench.normal(count);
  if (format === "f32") return { tensor: { shape, values: normal }, values: normal };
  const words = Uint16Array.from(normal, (value, i) =>
    format === "bf16"
      ? bf16Bits(value)
      : i % 7 === 3
        ? (i % 1024) | (value < 0 ? 0x8000 : 0)
        : f16Bits(value),
  );
  const values = Float64Array.from(words, format === "bf16" ? bf16Value : f16Value);
  return { tensor: { shape, values, dtype: format, bytes: new Uint8Array(words.buffer) }, values };
}

function bf16Bits(value: number): number {
  return new Uint32Array(new Float32Array([value]).buffer)[0]! >>> 16;
}

export function bf16Value(bits: number): number {
  return new Float32Array(new Uint32Array([bits << 16]).buffer)[0]!;
}

/** Truncates a value of ordinary size to f16. */
function f16Bits(value: number): number {
  const bits = new Uint32Array(new Float32Array([value]).buffer)[0]!;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  const sign = (bits >>> 16) & 0x8000;
  if (exponent <= 0) return sign;
  return sign | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

export function f16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}
