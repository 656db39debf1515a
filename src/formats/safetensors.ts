import type { ByteSource, FileStream, StoredTensor, StoredType } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { JsonFault, JsonReader } from "./json-reader.ts";
import { exactly, readTensor } from "./sources.ts";

/** A header longer than this is refused, as by Hugging Face's own readers in browsers. */
export const MAX_HEADER_BYTES = 25_000_000;
/** A tensor costs us more than the fifty bytes that a header can name one with; real files hold a few thousand. */
export const MAX_TENSORS = 32_768;
const MAX_METADATA_KEYS = 10_000;
const MAX_RANK = 16;
const NOT_SAFETENSORS = "Download the file again, or save the model anew with save_pretrained().";
/** What lies under the name of a safetensors file instead. Read as a length, each beginning is beyond MAX_HEADER_BYTES. */
const OTHER_FILES: readonly [beginning: RegExp, what: string, remedy: string][] = [
  [
    /^version /,
    "a pointer of Git LFS, not the file that it stands for",
    "Run git lfs pull where it was cloned, or download the file itself.",
  ],
  [/^<(!doctyp|html)/i, "a web page", "Download the file itself."],
  [
    /^PK/,
    "a zip, as torch.save writes pickles",
    "Load it in PyTorch, and save it with save_pretrained(), which writes safetensors.",
  ],
];

/** Bytes per element, in the order in which the reference writer lays tensors out: widest first. */
const TYPE_BYTES: Record<StoredType, number> = {
  I64: 8,
  F64: 8,
  F32: 4,
  I32: 4,
  BF16: 2,
  F16: 2,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};
const TYPE_ORDER = Object.keys(TYPE_BYTES) as StoredType[];

export interface SafetensorsFile {
  /** The `__metadata__` of the header; without a prototype, so any key is just a key. */
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

interface TensorLayout {
  readonly name: string;
  readonly dtype: StoredType;
  readonly shape: readonly number[];
}

/** A tensor to write: `bytes` are little-endian, row-major. */
export interface TensorToWrite extends TensorLayout {
  readonly bytes: Uint8Array;
}

/** A tensor to write whose bytes are asked for when it is its turn, and may come in pieces. */
export interface TensorToStream extends TensorLayout {
  pieces(): AsyncIterable<Uint8Array>;
}

/** Reads and checks the whole header; tensor bytes are read only when asked for. Throws FormatError. */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  if (source.size < 8) {
    refuse(source, "too-short", `has ${source.size} bytes, a safetensors file at least 8`);
  }
  const prefix = await source.read(0, 8);
  const lengthView = new DataView(prefix.buffer, prefix.byteOffset, 8);
  const headerBytes = lengthView.getUint32(0, true) + lengthView.getUint32(4, true) * 2 ** 32;
  if (headerBytes > MAX_HEADER_BYTES) {
    refuseOther(source, new TextDecoder("latin1").decode(prefix));
    const allowed = `${MAX_HEADER_BYTES} are allowed`;
    refuse(source, "header-too-long", `announces a header of ${headerBytes} bytes, ${allowed}`);
  }
  if (8 + headerBytes > source.size) {
    const found = `the file ends after ${source.size}`;
    refuse(source, "header-beyond-end", `announces a header up to byte ${8 + headerBytes}, ${found}`);
  }
  const header = await source.read(8, 8 + headerBytes);
  const file = new HeaderParser(source, header).parse();
  checkLayout(source, file.tensors, source.size - 8 - headerBytes);
  return file;
}

/**
 * The bytes of a safetensors file, the same as Python's `safetensors.torch.save` gives: tensors by element type
 * (widest first), then by name in UTF-8 order; the header padded with spaces to a multiple of 8. The reference
 * writes several metadata keys in no fixed order; here they keep the order given.
 */
export function writeSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  for (const { name, dtype, shape, bytes } of tensors) {
    if (bytes.byteLength === tensorBytes(dtype, shape)) continue;
    refuseToWrite(
      name,
      dtype,
      `has ${bytes.byteLength} bytes, [${shape}] needs ${tensorBytes(dtype, shape)}`,
    );
  }
  const sorted = inWrittenOrder(tensors);
  const header = headerOf(sorted, metadata);
  const file = new Uint8Array(header.length + sorted.reduce((sum, { bytes }) => sum + bytes.byteLength, 0));
  file.set(header);
  let at = header.length;
  for (const { bytes } of sorted) {
    file.set(bytes, at);
    at += bytes.byteLength;
  }
  return file;
}

/**
 * The same file, made as it is taken, so that one piece of one tensor is held. Throws FormatError for a tensor that
 * gives another number of bytes than its shape has when it is its turn.
 */
export function streamSafetensors(
  name: string,
  tensors: readonly TensorToStream[],
  metadata: Readonly<Record<string, string>> = {},
): FileStream {
  const sorted = inWrittenOrder(tensors);
  const header = headerOf(sorted, metadata);
  return {
    name,
    byteLength: sorted.reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), header.length),
    async *pieces() {
      yield header;
      for (const tensor of sorted) {
        const { name, dtype, shape } = tensor;
        const wanted = tensorBytes(dtype, shape);
        yield* exactly(wanted, tensor.pieces(), (written) =>
          refuseToWrite(name, dtype, `gave ${written} bytes, [${shape}] needs ${wanted}`),
        );
      }
    },
  };
}

/** Bytes of a tensor of a shape that is known to be one. */
export function tensorBytes(dtype: StoredType, shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, TYPE_BYTES[dtype]);
}

function refuseToWrite(name: string, dtype: StoredType, why: string): never {
  throw new FormatError("safetensors-write", `Tensor "${name}" (${dtype}) ${why}.`);
}

function inWrittenOrder<Tensor extends TensorLayout>(tensors: readonly Tensor[]): Tensor[] {
  const encoder = new TextEncoder();
  return tensors
    .map((tensor) => ({ tensor, key: encoder.encode(tensor.name) }))
    .sort(
      (a, b) =>
        TYPE_ORDER.indexOf(a.tensor.dtype) - TYPE_ORDER.indexOf(b.tensor.dtype) || compareBytes(a.key, b.key),
    )
    .map((entry) => entry.tensor);
}

/** All that stands before the tensors' bytes. */
function headerOf(sorted: readonly TensorLayout[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const parts: string[] = [];
  if (Object.keys(metadata).length > 0) parts.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let dataBytes = 0;
  const seen = new Set<string>(["__metadata__"]);
  for (const { name, dtype, shape } of sorted) {
    if (seen.has(name)) refuseToWrite(name, dtype, "is given twice");
    seen.add(name);
    const end = dataBytes + tensorBytes(dtype, shape);
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${dataBytes},${end}]}`,
    );
    dataBytes = end;
  }
  const text = new TextEncoder().encode(`{${parts.join(",")}}`);
  const textBytes = Math.ceil(text.byteLength / 8) * 8;
  const header = new Uint8Array(8 + textBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(textBytes), true);
  header.set(text, 8);
  return header;
}

class HeaderParser {
  private readonly reader: JsonReader;
  private readonly dataStart: number;
  private readonly metadata = new Map<string, string>();
  private readonly tensors = new Map<string, TensorInFile>();

  constructor(
    private readonly source: ByteSource,
    header: Uint8Array,
  ) {
    this.reader = new JsonReader(header);
    this.dataStart = 8 + header.byteLength;
  }

  parse(): { metadata: Map<string, string>; tensors: Map<string, TensorInFile> } {
    let hasMetadata = false;
    try {
      this.reader.object((name) => {
        if (name === "__metadata__") {
          if (hasMetadata) this.refuse("duplicate-key", `has the key "__metadata__" twice`);
          hasMetadata = true;
          this.readMetadata();
        } else {
          this.readTensor(name);
        }
      });
      this.reader.end();
    } catch (thrown) {
      if (thrown instanceof JsonFault)
        this.refuse(`header-${thrown.kind}`, `has a header that cannot be read: ${thrown.detail}`);
      throw thrown;
    }
    return { metadata: this.metadata, tensors: this.tensors };
  }

  private readMetadata(): void {
    this.reader.object((key) => {
      if (this.metadata.size >= MAX_METADATA_KEYS) {
        this.refuse("metadata-keys", `has more than ${MAX_METADATA_KEYS} metadata keys`);
      }
      if (this.metadata.has(key)) this.refuse("duplicate-key", `has the metadata key ${quote(key)} twice`);
      if (this.reader.peek() !== '"') {
        this.refuse(
          "metadata-type",
          `has metadata ${quote(key)} that is no string; only strings are allowed`,
        );
      }
      this.metadata.set(key, this.reader.string());
    });
  }

  private readTensor(name: string): void {
    if (this.tensors.has(name)) this.refuse("duplicate-key", `names tensor ${quote(name)} twice`);
    if (name.includes("\0")) this.refuse("name", `has a NUL character in the tensor name ${quote(name)}`);
    if (this.tensors.size >= MAX_TENSORS) {
      this.refuse("too-many-tensors", `has more than ${MAX_TENSORS} tensors, the largest number allowed`);
    }
    const { reader } = this;
    let dtype: string | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    reader.object((key) => {
      if (key === "dtype" && dtype === undefined) dtype = reader.string();
      else if (key === "shape" && shape === undefined) shape = this.naturals(name, key, MAX_RANK);
      else if (key === "data_offsets" && offsets === undefined) offsets = this.naturals(name, key, 2);
      else if (/^(dtype|shape|data_offsets)$/.test(key)) {
        this.refuse("duplicate-key", `gives "${key}" of tensor ${quote(name)} twice`);
      } else this.refuse("tensor-key", `has the unknown key ${quote(key)} in tensor ${quote(name)}`);
    });
    if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
      this.refuse("tensor-key", `lacks dtype, shape or two data_offsets of tensor ${quote(name)}`);
    }
    this.tensors.set(name, this.tensor(name, dtype, shape, offsets[0]!, offsets[1]!));
  }

  private tensor(name: string, dtype: string, shape: number[], begin: number, end: number): TensorInFile {
    if (!isStoredType(dtype)) {
      const known = `known are ${TYPE_ORDER.join(", ")}`;
      this.refuse("dtype", `has tensor ${quote(name)} of the unknown element type ${quote(dtype)}; ${known}`);
    }
    if (end < begin) {
      this.refuse("offsets", `has tensor ${quote(name)} end at ${end}, before it begins at ${begin}`);
    }
    const bytes = byteCount(dtype, shape);
    if (bytes === undefined) {
      this.refuse("overflow", `has tensor ${quote(name)} of shape [${shape}], more than 2^53 bytes`);
    }
    if (end - begin !== bytes) {
      const found = `${end - begin} bytes`;
      this.refuse("length", `gives tensor ${quote(name)} ${found}, ${dtype} [${shape}] needs ${bytes}`);
    }
    return new TensorInFile(this.source, name, dtype, shape, this.dataStart + begin, bytes);
  }

  private naturals(name: string, key: string, most: number): number[] {
    const values: number[] = [];
    this.reader.array(() => {
      if (values.length === most) {
        this.refuse("tensor-key", `has more than ${most} numbers in "${key}" of tensor ${quote(name)}`);
      }
      values.push(this.reader.natural());
    });
    return values;
  }

  private refuse(code: string, found: string): never {
    return refuse(this.source, code, found);
  }
}

class TensorInFile implements StoredTensor {
  constructor(
    private readonly source: ByteSource,
    readonly name: string,
    readonly dtype: StoredType,
    readonly shape: readonly number[],
    readonly fileStart: number,
    readonly byteLength: number,
  ) {}

  read(start = 0, end = this.byteLength): Promise<Uint8Array> {
    return readTensor(this.source, this, this.fileStart, [start, end]);
  }
}

/** Tensors must cover the data from its first byte to its last, without a gap and without sharing a byte. */
function checkLayout(source: ByteSource, tensors: Map<string, TensorInFile>, dataBytes: number): void {
  const dataStart = source.size - dataBytes;
  const inOrder = [...tensors.values()].sort(
    (a, b) => a.fileStart - b.fileStart || a.byteLength - b.byteLength,
  );
  let covered = dataStart;
  for (const { name, fileStart, byteLength } of inOrder) {
    if (fileStart < covered) refuse(source, "overlap", `has tensor ${quote(name)} overlap the one before it`);
    if (fileStart > covered) {
      refuse(
        source,
        "hole",
        `has ${fileStart - covered} bytes before tensor ${quote(name)} that belong to none`,
      );
    }
    covered = fileStart + byteLength;
  }
  if (covered > source.size) {
    refuse(source, "data-short", `ends at byte ${source.size}, its tensors reach to ${covered}`);
  }
  if (covered < source.size) {
    refuse(source, "trailing-bytes", `has ${source.size - covered} bytes after its last tensor`);
  }
}

function byteCount(dtype: StoredType, shape: readonly number[]): number | undefined {
  // A zero among huge dimensions makes an empty tensor, but the dimensions are still not to be believed.
  let elements = TYPE_BYTES[dtype];
  for (const size of shape) elements *= Math.max(size, 1);
  if (elements > Number.MAX_SAFE_INTEGER) return undefined;
  return shape.includes(0) ? 0 : elements;
}

function isStoredType(dtype: string): dtype is StoredType {
  return Object.hasOwn(TYPE_BYTES, dtype);
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

/** Names come from a stranger: shown as JSON, so nothing in them is invisible, and cut short. */
function quote(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}…` : name);
}

function refuseOther(source: ByteSource, beginning: string): void {
  const other = OTHER_FILES.find(([pattern]) => pattern.test(beginning));
  if (other) throw new FormatError("safetensors-other-file", `${source.name} is ${other[1]}.`, other[2]);
}

function refuse(source: ByteSource, code: string, found: string): never {
  throw new FormatError(`safetensors-${code}`, `${source.name} ${found}.`, NOT_SAFETENSORS);
}
