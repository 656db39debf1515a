import type { ByteSource } from "../base/bytes.ts";
import type { StringList } from "./gguf-values.ts";

/** Bytes read ahead: a header of a few megabytes takes few reads, and no more than this is held twice. */
const WINDOW_BYTES = 1 << 18;
/** All that stands before the tensors. 49 152 tokens with their merges take 1.8 MB. */
export const MAX_HEADER_BYTES = 64_000_000;

type Refuse = (code: string, found: string) => never;

/**
 * Reads on through the header of a file. `need` waits until bytes are there, and refuses where the file ends
 * sooner; what is then read by `u8`, `u32` and `u64` waits for nothing. No length is believed before its bytes are there.
 */
export class GgufCursor {
  private window: Uint8Array = new Uint8Array(0);
  private view: DataView = new DataView(this.window.buffer);
  private windowStart = 0;
  private at = 0;

  constructor(
    private readonly source: ByteSource,
    private readonly refuse: Refuse,
  ) {}

  get position(): number {
    return this.windowStart + this.at;
  }

  /** Nothing to wait for where the bytes are there, which is nearly always. */
  need(count: number, what: string): Promise<void> | undefined {
    return this.left < count ? this.fill(count, what) : undefined;
  }

  /** Bytes that are there already. */
  private get left(): number {
    return this.window.length - this.at;
  }

  u8(): number {
    this.at += 1;
    return this.view.getUint8(this.at - 1);
  }

  u32(): number {
    this.at += 4;
    return this.view.getUint32(this.at - 4, true);
  }

  /** Exact up to 2^53; what is larger is refused by whoever asks, whatever it is rounded to. */
  u64(): number {
    const low = this.u32();
    return low + this.u32() * 2 ** 32;
  }

  async string(what: string, most: number): Promise<string> {
    await this.need(8, what);
    const length = this.length(what, most);
    await this.need(length, what);
    const bytes = this.window.subarray(this.at, this.at + length);
    this.at += length;
    return decodeUtf8(bytes) ?? this.refuse("utf8", `has ${what} that is not UTF-8`);
  }

  /** So many bytes, in a buffer of their own. */
  async bytes(count: number, what: string): Promise<ArrayBuffer> {
    this.checkLeft(count, what);
    // A copy, so that typed arrays find it aligned, and nothing keeps the window alive.
    const held = count <= this.left;
    const bytes = new Uint8Array(
      held
        ? this.window.subarray(this.at, this.at + count)
        : await this.source.read(this.position, this.position + count),
    );
    this.skip(count);
    return bytes.buffer;
  }

  /** A list of strings: read over once to find and check them, kept as they stand in the file. */
  async strings(length: number, most: number): Promise<StringList> {
    const what = "a string of a list";
    this.checkLeft(8 * length, what);
    const start = this.position;
    const ends = new Uint32Array(length);
    for (let i = 0; i < length; i++) {
      // Not `need`: lists hold hundreds of thousands of strings, and even a wait for nothing costs.
      if (this.left < 8) await this.fill(8, what);
      const size = this.length(what, most);
      if (this.left < size) await this.fill(size, what);
      if (!isUtf8(this.window, this.at, this.at + size)) this.refuse("utf8", `has ${what} that is not UTF-8`);
      this.at += size;
      ends[i] = this.position - start;
    }
    return new StringsInFile(await this.source.read(start, this.position), ends);
  }

  private length(what: string, most: number): number {
    const length = this.u64();
    if (length > most) this.refuse("string-length", `has ${what} of ${length} bytes, ${most} are allowed`);
    return length;
  }

  private skip(count: number): void {
    this.at += count;
    if (this.at <= this.window.length) return;
    this.windowStart += this.at;
    this.setWindow(new Uint8Array(0));
  }

  private async fill(count: number, what: string): Promise<void> {
    this.checkLeft(count, what);
    const start = this.position;
    const end = Math.min(this.source.size, start + Math.max(count, WINDOW_BYTES));
    const bytes = await this.source.read(start, end);
    this.windowStart = start;
    this.setWindow(bytes);
  }

  private setWindow(bytes: Uint8Array): void {
    this.at = 0;
    this.window = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  private checkLeft(count: number, what: string): void {
    const end = this.position + count;
    if (end > this.source.size) {
      this.refuse("too-short", `ends at byte ${this.source.size}, ${what} reaches to ${end}`);
    }
    if (end > MAX_HEADER_BYTES) {
      this.refuse("header-too-long", `has a header of more than ${MAX_HEADER_BYTES} bytes`);
    }
  }
}

/** Strings with their lengths before them; `ends[i]` is where the i-th ends. */
class StringsInFile implements StringList {
  constructor(
    private readonly bytes: Uint8Array,
    private readonly ends: Uint32Array,
  ) {}

  get length(): number {
    return this.ends.length;
  }

  at(index: number): string | undefined {
    const end = this.ends[index];
    if (end === undefined) return undefined;
    const start = (index === 0 ? 0 : this.ends[index - 1]!) + 8;
    return decodeUtf8(this.bytes.subarray(start, end));
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Most strings are a few ASCII letters, for which the decoder's call alone would cost more than this loop. */
function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (bytes[at]! >= 0x80) return decodeUtf8(bytes.subarray(at, end)) !== undefined;
  }
  return true;
}
