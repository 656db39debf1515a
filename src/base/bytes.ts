/**
 * Bytes that can be read in pieces: a dropped File in the browser, an open file in Node, an array in tests.
 * `read(start, end)` gives exactly `end - start` bytes, or rejects with a FormatError.
 */
export interface ByteSource {
  readonly name: string;
  readonly size: number;
  read(start: number, end: number): Promise<Uint8Array>;
}

/** A flat folder of named files: a Hugging Face checkpoint or an adapter. */
export interface FileSet {
  readonly label: string;
  /** The source of a file, or undefined where there is none of that name. */
  open(name: string): ByteSource | undefined;
  names(): string[];
}

/** Element types of tensors on disk, in safetensors' spelling. */
export type StoredType = "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U8" | "BOOL";

/** A tensor in a file: shape, element type, and its bytes on demand. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: StoredType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** The tensor's bytes (little-endian, row-major), or a range of them relative to the tensor's start. */
  read(start?: number, end?: number): Promise<Uint8Array>;
}

/** A file that is being made: its size is known before its bytes, which come in pieces, so that it need not fit into memory. */
export interface FileStream {
  readonly name: string;
  readonly byteLength: number;
  /** The bytes in order. Throws where making them fails; what has come by then is no file. */
  pieces(): AsyncIterable<Uint8Array>;
}
