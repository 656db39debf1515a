/** What went wrong in a JSON text, and at which byte. Callers wrap it in an error that names the file. */
export class JsonFault {
  constructor(
    readonly kind: JsonFaultKind,
    readonly detail: string,
  ) {}
}

export type JsonFaultKind = "syntax" | "utf8" | "negative" | "fraction" | "too-large" | "depth" | "type";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MAX_DEPTH = 64;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ESCAPES: Record<string, string> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/**
 * Reads JSON straight from bytes, one token at a time, for headers of files from strangers. `JSON.parse` would hide
 * duplicate keys and build whatever the text describes (millions of nested arrays) before anyone can object; here the
 * caller asks for what it expects, so nothing else is ever built. Throws JsonFault.
 */
export class JsonReader {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  /** Calls `onKey` for every key of the object that starts here; it must consume the key's value. */
  object(onKey: (key: string) => void): void {
    this.expect("{");
    if (this.accept("}")) return;
    do {
      const key = this.string();
      this.expect(":");
      onKey(key);
    } while (this.accept(","));
    this.expect("}");
  }

  /** Calls `onItem` for every item of the array that starts here; it must consume the item. */
  array(onItem: () => void): void {
    this.expect("[");
    if (this.accept("]")) return;
    do onItem();
    while (this.accept(","));
    this.expect("]");
  }

  string(): string {
    this.space();
    if (this.bytes[this.at] !== QUOTE) this.fail("type", "a string was expected");
    const start = ++this.at;
    const { bytes } = this;
    let ascii = true;
    for (; this.at < bytes.length; this.at++) {
      const byte = bytes[this.at]!;
      if (byte === QUOTE) {
        const text = ascii ? latin(bytes, start, this.at) : this.decode(start, this.at);
        this.at++;
        return text;
      }
      if (byte === BACKSLASH) return this.escaped(start);
      if (byte < 0x20) this.fail("syntax", "a control character inside a string");
      if (byte > 0x7f) ascii = false;
    }
    return this.fail("syntax", "a string without an end");
  }

  /** A whole number from 0 to 2^53 − 1, written without fraction or exponent. */
  natural(): number {
    this.space();
    const start = this.at;
    if (this.bytes[this.at] === 0x2d) this.fail("negative", "a negative number");
    let value = 0;
    for (; isDigit(this.bytes[this.at]); this.at++) {
      value = value * 10 + (this.bytes[this.at]! - 0x30);
      if (value > Number.MAX_SAFE_INTEGER) this.fail("too-large", "a number above 2^53");
    }
    if (this.at === start) this.fail("type", "a whole number was expected");
    if (this.bytes[start] === 0x30 && this.at - start > 1)
      this.fail("syntax", "a number with a leading zero");
    const next = this.bytes[this.at];
    if (next === 0x2e || next === 0x65 || next === 0x45) this.fail("fraction", "a number that is not whole");
    return value;
  }

  /** Steps over a value of any kind without building it. */
  skip(depth = 0): void {
    if (depth > MAX_DEPTH) this.fail("depth", `values nested deeper than ${MAX_DEPTH}`);
    const next = this.peek();
    if (next === "{") this.object(() => this.skip(depth + 1));
    else if (next === "[") this.array(() => this.skip(depth + 1));
    else if (next === '"') this.string();
    else this.scalar();
  }

  /** The next character that is not white space, or "" at the end. */
  peek(): string {
    this.space();
    return this.at < this.bytes.length ? String.fromCharCode(this.bytes[this.at]!) : "";
  }

  end(): void {
    if (this.peek() !== "") this.fail("syntax", "something after the end of the object");
  }

  private scalar(): void {
    const start = this.at;
    while (this.at < this.bytes.length && /[-+.\w]/.test(String.fromCharCode(this.bytes[this.at]!)))
      this.at++;
    const word = latin(this.bytes, start, Math.min(this.at, start + 400));
    if (!/^(true|false|null|-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?)$/.test(word)) {
      this.at = start;
      this.fail("syntax", "no JSON value");
    }
  }

  private escaped(start: number): string {
    let text = this.decode(start, this.at);
    for (;;) {
      const runStart = this.at;
      while (
        this.at < this.bytes.length &&
        this.bytes[this.at] !== QUOTE &&
        this.bytes[this.at] !== BACKSLASH
      ) {
        if (this.bytes[this.at]! < 0x20) this.fail("syntax", "a control character inside a string");
        this.at++;
      }
      if (this.at >= this.bytes.length) this.fail("syntax", "a string without an end");
      text += this.decode(runStart, this.at);
      if (this.bytes[this.at++] === QUOTE) break;
      const letter = String.fromCharCode(this.bytes[this.at++] ?? 0);
      if (letter === "u") {
        const hex = latin(this.bytes, this.at, Math.min(this.at + 4, this.bytes.length));
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.fail("syntax", "a \\u escape without four hex digits");
        text += String.fromCharCode(Number.parseInt(hex, 16));
        this.at += 4;
      } else {
        const plain = ESCAPES[letter];
        if (plain === undefined) this.fail("syntax", "an unknown escape in a string");
        text += plain;
      }
    }
    if (/\p{Surrogate}/u.test(text)) this.fail("utf8", "half a surrogate pair in a string");
    return text;
  }

  private decode(start: number, end: number): string {
    try {
      return decoder.decode(this.bytes.subarray(start, end));
    } catch {
      return this.fail("utf8", "bytes that are not UTF-8");
    }
  }

  private accept(char: string): boolean {
    if (this.peek() !== char) return false;
    this.at++;
    return true;
  }

  private expect(char: string): void {
    if (!this.accept(char)) this.fail("syntax", `'${char}' was expected`);
  }

  private space(): void {
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.at++;
    }
  }

  private fail(kind: JsonFaultKind, what: string): never {
    throw new JsonFault(kind, `${what} at byte ${this.at}`);
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** Text of bytes that are all below 128. Built at once: a long name put together by character would cost 30 times it. */
function latin(bytes: Uint8Array, start: number, end: number): string {
  const part = bytes.subarray(start, end);
  // For names of usual length this is several times quicker than a TextDecoder.
  if (part.length <= 256) return String.fromCharCode.apply(null, part as unknown as number[]);
  return decoder.decode(part);
}
