import type { ByteSource } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { GGML_TYPES, type GgmlType, ggmlByteCount, ggmlTypeOf } from "./ggml.ts";
import { GgufCursor } from "./gguf-cursor.ts";
import {
  ALIGNMENT_KEY,
  alignUp,
  DEFAULT_ALIGNMENT,
  GGUF_TYPES,
  type GgufArray,
  type GgufType,
  type GgufValue,
  isAlignment,
  MAX_DIMENSIONS,
  MAX_NAME_BYTES,
  NUMBER_ARRAYS,
} from "./gguf-values.ts";
import { readTensor } from "./sources.ts";

const MAGIC = 0x46554747;
/** Versions 2 and 3 differ in that 3 may be big-endian, which is refused. */
const VERSIONS = [2, 3];
/** A key or a tensor costs more memory than the few bytes that a file can name one with; real files hold hundreds. */
export const MAX_KEYS = 10_000;
export const MAX_TENSORS = 8192;
const MAX_KEY_BYTES = 65_535;
export const MAX_STRING_BYTES = 10_000_000;
const MAX_ARRAY_LENGTH = 1_000_000;
const MAX_NESTING = 4;
/** Arrays within arrays, in one file. */
const MAX_INNER_ARRAYS = 10_000;
/** Lists with one entry for each token, or each merge of two, may be longer than other arrays. */
const TOKEN_LIST = /^tokenizer\.ggml\.(tokens|token_type|scores|merges)$/;

export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Row-major, the slowest dimension first, as in PyTorch; the file has them the other way round. */
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** The tensor's bytes, or a range of them relative to the tensor's start. */
  read(start?: number, end?: number): Promise<Uint8Array>;
}

export interface GgufFile {
  readonly version: number;
  readonly alignment: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** In the order of the file. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** Reads and checks the header, the metadata and the list of tensors; tensor bytes are read only when asked for. Throws FormatError. */
export async function openGguf(source: ByteSource): Promise<GgufFile> {
  return new GgufParser(source).parse();
}

/** Where tensors' offsets count from; known only after the last of them has been read. */
interface TensorData {
  readonly source: ByteSource;
  start: number;
}

class GgufParser {
  private readonly cursor: GgufCursor;
  private readonly metadata = new Map<string, GgufValue>();
  private readonly tensorData: TensorData;
  private innerArrays = 0;
  /** The key or tensor that is being read. */
  private place: string | undefined;

  constructor(private readonly source: ByteSource) {
    this.tensorData = { source, start: 0 };
    this.cursor = new GgufCursor(source, (code, found) => {
      const place = this.place === undefined ? "" : ` (at ${show(this.place)})`;
      return this.refuse(code, `${found}${place}`);
    });
  }

  async parse(): Promise<GgufFile> {
    const { cursor } = this;
    const version = await this.readVersion();
    await cursor.need(16, "its counts");
    const tensorCount = this.count("tensors", MAX_TENSORS);
    const keyCount = this.count("keys", MAX_KEYS);
    for (let i = 0; i < keyCount; i++) await this.readPair();
    const alignment = this.alignment();
    this.checkTokenIds();
    const tensors = new Map<string, TensorInFile>();
    for (let i = 0; i < tensorCount; i++) {
      const tensor = await this.readTensor();
      if (tensors.has(tensor.name))
        this.refuse("duplicate-tensor", `names tensor ${show(tensor.name)} twice`);
      tensors.set(tensor.name, tensor);
    }
    this.tensorData.start = alignUp(cursor.position, alignment);
    this.checkLayout(tensors, alignment);
    return { version, alignment, metadata: this.metadata, tensors };
  }

  private async readVersion(): Promise<number> {
    const { cursor } = this;
    await cursor.need(8, "its magic and version");
    const magic = cursor.u32();
    if (magic !== MAGIC) this.refuse("magic", `begins with 0x${magic.toString(16)}, not with "GGUF"`);
    const version = cursor.u32();
    if (VERSIONS.includes(version)) return version;
    if (version !== 0 && version % 65536 === 0) {
      this.refuse("big-endian", "is big-endian; only little-endian files are read");
    }
    return this.refuse("version", `is of version ${version}; versions ${VERSIONS.join(" and ")} are read`);
  }

  private count(what: string, most: number): number {
    const count = this.cursor.u64();
    if (count > most)
      this.refuse("too-many", `announces ${count} ${what}, ${most} is the largest number allowed`);
    return count;
  }

  private async readPair(): Promise<void> {
    const key = await this.cursor.string("a key", MAX_KEY_BYTES);
    if (key === "" || key.includes("\0")) this.refuse("key", `has the key ${show(key)}`);
    if (this.metadata.has(key)) this.refuse("duplicate-key", `has the key ${show(key)} twice`);
    this.place = key;
    const type = await this.readType(key);
    this.metadata.set(key, await this.readValue(key, type));
  }

  private async readType(key: string): Promise<GgufType> {
    await this.cursor.need(4, "a type");
    const id = this.cursor.u32();
    return GGUF_TYPES[id] ?? this.refuse("value-type", `gives ${show(key)} the unknown type ${id}`);
  }

  private async readValue(key: string, type: GgufType): Promise<GgufValue> {
    switch (type) {
      case "string":
        return { type, value: await this.cursor.string("a string", MAX_STRING_BYTES) };
      case "array":
        return { type, value: await this.readArray(key, 1) };
      case "bool": {
        await this.cursor.need(1, "a value");
        return { type, value: this.boolean(key, this.cursor.u8()) };
      }
      default: {
        const bytes = await this.cursor.bytes(NUMBER_ARRAYS[type].BYTES_PER_ELEMENT, "a value");
        return { type, value: new NUMBER_ARRAYS[type](bytes)[0]! } as GgufValue;
      }
    }
  }

  private boolean(key: string, byte: number): boolean {
    if (byte > 1) this.refuse("bool", `has ${byte} for true or false in ${show(key)}`);
    return byte === 1;
  }

  private async readArray(key: string, depth: number): Promise<GgufArray> {
    if (depth > MAX_NESTING) {
      this.refuse("nesting", `nests arrays deeper than ${MAX_NESTING} in ${show(key)}`);
    }
    const element = await this.readType(key);
    await this.cursor.need(8, "the length of an array");
    const length = this.cursor.u64();
    if (length > MAX_ARRAY_LENGTH && !TOKEN_LIST.test(key)) {
      this.refuse("array-length", `has ${length} entries in ${show(key)}, ${MAX_ARRAY_LENGTH} are allowed`);
    }
    switch (element) {
      case "string":
        return { element, values: await this.cursor.strings(length, MAX_STRING_BYTES) };
      case "array": {
        this.innerArrays += length;
        if (this.innerArrays > MAX_INNER_ARRAYS) {
          this.refuse("nesting", `holds more than ${MAX_INNER_ARRAYS} arrays within arrays`);
        }
        const values: GgufArray[] = [];
        for (let i = 0; i < length; i++) values.push(await this.readArray(key, depth + 1));
        return { element, values };
      }
      case "bool": {
        const bytes = new Uint8Array(await this.cursor.bytes(length, "an array"));
        for (const byte of bytes) this.boolean(key, byte);
        return { element, values: bytes };
      }
      default: {
        const ArrayType = NUMBER_ARRAYS[element];
        const bytes = await this.cursor.bytes(length * ArrayType.BYTES_PER_ELEMENT, "an array");
        return { element, values: new ArrayType(bytes) };
      }
    }
  }

  private alignment(): number {
    const stated = this.metadata.get(ALIGNMENT_KEY);
    if (!stated) return DEFAULT_ALIGNMENT;
    if (stated.type !== "u32") {
      this.refuse("alignment", `has a ${ALIGNMENT_KEY} of type ${stated.type}, expected u32`);
    }
    if (!isAlignment(stated.value)) {
      this.refuse("alignment", `has a ${ALIGNMENT_KEY} of ${stated.value}, expected a power of two`);
    }
    return stated.value;
  }

  /** `tokenizer.ggml.eos_token_id` and its like must name tokens that there are. */
  private checkTokenIds(): void {
    const tokens = this.metadata.get("tokenizer.ggml.tokens");
    if (tokens?.type !== "array") return;
    const { length } = tokens.value.values;
    for (const [key, { type, value }] of this.metadata) {
      if (!/^tokenizer\.ggml\.\w+_token_ids?$/.test(key)) continue;
      const ids =
        type === "array" && value.element !== "array" ? Array.from(value.values as NumberList) : [value];
      const bad = ids.find((id) => !(Number.isInteger(Number(id)) && Number(id) >= 0 && Number(id) < length));
      if (bad === undefined) continue;
      this.refuse("token-id", `has ${show(key)} ${String(bad)}, expected a token below ${length}`);
    }
  }

  private async readTensor(): Promise<TensorInFile> {
    const { cursor } = this;
    const name = await cursor.string("a tensor's name", MAX_NAME_BYTES);
    if (name === "" || name.includes("\0")) this.refuse("name", `has a tensor called ${show(name)}`);
    this.place = name;
    await cursor.need(4, "a tensor");
    const rank = cursor.u32();
    if (rank > MAX_DIMENSIONS) {
      this.refuse(
        "dimensions",
        `gives tensor ${show(name)} ${rank} dimensions, ${MAX_DIMENSIONS} are allowed`,
      );
    }
    await cursor.need(8 * rank + 12, "a tensor");
    const shape = Array.from({ length: rank }, () => cursor.u64()).reverse();
    if (shape.some((size) => size > Number.MAX_SAFE_INTEGER)) {
      this.refuse("overflow", `gives tensor ${show(name)} the shape [${shape}], beyond 2^53`);
    }
    const id = cursor.u32();
    const type = ggmlTypeOf(id);
    if (type === undefined)
      this.refuse("tensor-type", `gives tensor ${show(name)} the unknown element type ${id}`);
    const { blockElements } = GGML_TYPES[type];
    if ((shape.at(-1) ?? 1) % blockElements !== 0) {
      const wanted = `${type} needs multiples of ${blockElements}`;
      this.refuse("blocks", `gives tensor ${show(name)} rows of ${shape.at(-1) ?? 1} elements, ${wanted}`);
    }
    const byteLength = ggmlByteCount(type, shape);
    if (byteLength === undefined) {
      this.refuse("overflow", `gives tensor ${show(name)} the shape [${shape}], more than 2^53 bytes`);
    }
    return new TensorInFile(this.tensorData, name, type, shape, cursor.u64(), byteLength);
  }

  /** Tensors follow one another in the order of the list, each at the next multiple of the alignment, as llama.cpp demands. */
  private checkLayout(tensors: ReadonlyMap<string, TensorInFile>, alignment: number): void {
    let expected = 0;
    for (const { name, offset, byteLength } of tensors.values()) {
      if (offset % alignment !== 0) {
        this.refuse(
          "misaligned",
          `puts tensor ${show(name)} at ${offset}, which is no multiple of ${alignment}`,
        );
      }
      if (offset !== expected) {
        this.refuse("offset", `puts tensor ${show(name)} at ${offset}, expected ${expected}`);
      }
      const end = this.tensorData.start + offset + byteLength;
      if (end > this.source.size) {
        this.refuse("data-short", `ends at byte ${this.source.size}, tensor ${show(name)} reaches to ${end}`);
      }
      expected = alignUp(offset + byteLength, alignment);
    }
  }

  private refuse(code: string, found: string): never {
    throw new FormatError(
      `gguf-${code}`,
      `${this.source.name} ${found}.`,
      "Download the file again, or make it anew with llama.cpp's convert_hf_to_gguf.py.",
    );
  }
}

type NumberList = ArrayLike<number | bigint | boolean>;

class TensorInFile implements GgufTensor {
  constructor(
    private readonly data: TensorData,
    readonly name: string,
    readonly type: GgmlType,
    readonly shape: readonly number[],
    readonly offset: number,
    readonly byteLength: number,
  ) {}

  read(start = 0, end = this.byteLength): Promise<Uint8Array> {
    const { source, start: dataStart } = this.data;
    return readTensor(source, this, dataStart + this.offset, [start, end]);
  }
}
