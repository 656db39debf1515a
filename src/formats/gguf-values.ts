/** The values of a GGUF file's metadata, as they are read and written. */

/** Types of metadata in the order of their numbers in files. */
export const GGUF_TYPES = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;
export type GgufType = (typeof GGUF_TYPES)[number];

/** Arrays in memory of each number type: the file's own bytes, which are little-endian as every host of WebGPU is. */
export const NUMBER_ARRAYS = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f64: Float64Array,
} as const;
export type GgufNumberType = keyof typeof NUMBER_ARRAYS;
export type NumberArray = InstanceType<(typeof NUMBER_ARRAYS)[GgufNumberType]>;

/** An array of strings, or a list of the same shape that decodes them when asked. */
export interface StringList {
  readonly length: number;
  at(index: number): string | undefined;
}

export type GgufArray =
  | { readonly element: GgufNumberType; readonly values: NumberArray }
  /** 0 or 1 for each. */
  | { readonly element: "bool"; readonly values: Uint8Array }
  | { readonly element: "string"; readonly values: StringList }
  | { readonly element: "array"; readonly values: readonly GgufArray[] };

export type GgufValue =
  | { readonly type: Exclude<GgufNumberType, "u64" | "i64">; readonly value: number }
  | { readonly type: "u64" | "i64"; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "array"; readonly value: GgufArray };

/** Where tensors begin unless `general.alignment` says otherwise, in bytes. */
export const DEFAULT_ALIGNMENT = 32;
export const ALIGNMENT_KEY = "general.alignment";

export const MAX_DIMENSIONS = 4;
/** llama.cpp keeps names in 64 bytes, the last of which ends them. */
export const MAX_NAME_BYTES = 63;

/** A power of two that both tensors' ends and multiples of it in a file can be counted in. */
export function isAlignment(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 2 ** 31 && Number.isInteger(Math.log2(value));
}

/** The next multiple. Offsets pass 2^32, so no bitwise operators. */
export function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}
