import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import type { ByteSource, FileStream } from "../../src/base/bytes.ts";
import { FormatError } from "../../src/base/errors.ts";
import { fromFloat32ToGgml, toFloat32OfGgml, type WrittenGgmlType } from "../../src/formats/ggml.ts";
import { type GgufFile, MAX_KEYS, MAX_STRING_BYTES, MAX_TENSORS, openGguf } from "../../src/formats/gguf.ts";
import { MAX_HEADER_BYTES } from "../../src/formats/gguf-cursor.ts";
import { GGUF_TYPES, type GgufType, type GgufValue } from "../../src/formats/gguf-values.ts";
import { type GgufTensorToWrite, writeGguf } from "../../src/formats/gguf-writer.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { wholeNumber } from "../harness/random.ts";
import { cpuMs, SECOND_MS } from "../harness/second.ts";
import { bytesOf } from "../harness/streams.ts";

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));
const open = (bytes: Uint8Array) => openGguf(arraySource(bytes, "m.gguf"));

async function refusal(bytes: Uint8Array): Promise<FormatError> {
  const thrown = await open(bytes).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(FormatError);
  return thrown as FormatError;
}

function again({ metadata, tensors }: GgufFile): FileStream {
  const written = [...tensors.values()].map(
    (tensor): GgufTensorToWrite => ({
      ...{ name: tensor.name, type: tensor.type, shape: tensor.shape },
      async *pieces() {
        yield await tensor.read(0, 1);
        yield await tensor.read(1);
      },
    }),
  );
  return writeGguf("again.gguf", metadata, written);
}

describe("files that gguf-py wrote", () => {
  it.each(["every_type.gguf", "aligned.gguf"])("%s is read, and written as the same bytes", async (name) => {
    const bytes = fixture(name);
    expect(await bytesOf(again(await open(bytes)))).toEqual(bytes);
  });

  it("gives keys of every type", async () => {
    const { metadata, version, alignment } = await open(fixture("every_type.gguf"));
    expect([version, alignment]).toEqual([3, 32]);
    const value = (key: string) => metadata.get(key)?.value;
    expect(["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"].map((type) => value(`n.${type}`))).toEqual([
      255,
      -128,
      65535,
      -32768,
      2 ** 32 - 1,
      -(2 ** 31),
      2n ** 64n - 1n,
      -(2n ** 63n),
    ]);
    expect([value("n.f32"), value("n.f64"), value("n.bool")]).toEqual([Math.fround(0.1), 0.1, true]);
    expect(value("n.string")).toBe("grün \u{1f331}\n");
    expect(value("a.u16")).toEqual({ element: "u16", values: Uint16Array.of(1, 65535) });
    expect(value("a.i64")).toEqual({ element: "i64", values: BigInt64Array.of(-1n, 2n ** 62n) });
    expect(value("a.f64")).toEqual({ element: "f64", values: Float64Array.of(0.1, -0) });
    expect(value("a.bool")).toEqual({ element: "bool", values: Uint8Array.of(1, 0) });
    const inner = (...values: number[]) => ({ element: "i32", values: Int32Array.from(values) });
    expect(value("a.nested")).toEqual({
      element: "array",
      values: [
        { element: "array", values: [inner(1, 2), inner(3)] },
        { element: "array", values: [inner(4)] },
      ],
    });
  });

  it("gives lists of strings entry by entry", async () => {
    const tokens = (await open(fixture("every_type.gguf"))).metadata.get("tokenizer.ggml.tokens");
    if (tokens?.type !== "array" || tokens.value.element !== "string") throw new Error("no list of strings");
    const { values } = tokens.value;
    expect(Array.from({ length: values.length + 1 }, (_, i) => values.at(i))).toEqual([
      ...["a", "ä", "", "long token"],
      undefined,
    ]);
  });

  it("gives shapes as PyTorch has them, and the alignment of the file", async () => {
    const { tensors } = await open(fixture("every_type.gguf"));
    expect(tensors.get("cube")).toMatchObject({ type: "F32", shape: [5, 2, 3], byteLength: 120 });
    expect(tensors.get("q8_0.weight")).toMatchObject({ type: "Q8_0", shape: [3, 64], byteLength: 204 });
    const aligned = await open(fixture("aligned.gguf"));
    expect(aligned.alignment).toBe(256);
    const two = aligned.tensors.get("two")!;
    expect(toFloat32OfGgml(await two.read(), two.type)).toEqual(Float32Array.of(2, 2, 2, 2));
  });

  it("decodes F32, F16, BF16 and Q8_0 as gguf-py does", async () => {
    const { tensors } = await open(fixture("every_type.gguf"));
    const wanted = JSON.parse(new TextDecoder().decode(fixture("values.gguf.json"))) as Record<
      string,
      number[]
    >;
    expect(Object.keys(wanted)).toHaveLength(4);
    for (const [name, values] of Object.entries(wanted)) {
      const tensor = tensors.get(name)!;
      expect(toFloat32OfGgml(await tensor.read(), tensor.type), name).toEqual(Float32Array.from(values));
    }
  });

  it("names what can be decoded where a type cannot", async () => {
    const tensor = (await open(fixture("every_type.gguf"))).tensors.get("q4_k.weight")!;
    const bytes = await tensor.read();
    expect(() => toFloat32OfGgml(bytes, tensor.type)).toThrow(/type Q4_K .* F32, F16, BF16 and Q8_0 can/);
    await expect(tensor.read(0, bytes.length + 1)).rejects.toThrow(FormatError);
  });
});

// What is let go of at once is not held; only V8 knows which that is.
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const held = () => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;

/** What a file says, number by number, so that each can be wrong. */
class Draft {
  private readonly parts: Uint8Array[] = [];

  constructor(tensors: number | bigint, keys: number | bigint, version = 3, magic = "GGUF") {
    this.raw(new TextEncoder().encode(magic)).u32(version).u64(tensors).u64(keys);
  }

  raw(bytes: Uint8Array): this {
    this.parts.push(bytes);
    return this;
  }
  u32(value: number): this {
    return this.raw(new Uint8Array(Uint32Array.of(value).buffer));
  }
  u64(value: number | bigint): this {
    return this.raw(new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, BigInt(value))).buffer));
  }
  text(text: string, length: number | bigint = new TextEncoder().encode(text).length): this {
    return this.u64(length).raw(new TextEncoder().encode(text));
  }
  key(name: string, type: GgufType): this {
    return this.text(name).u32(GGUF_TYPES.indexOf(type));
  }
  array(element: GgufType, length: number | bigint): this {
    return this.u32(GGUF_TYPES.indexOf(element)).u64(length);
  }
  tensor(name: string, dims: (number | bigint)[], offset: number | bigint = 0, type = 0): this {
    this.text(name).u32(dims.length);
    for (const size of dims) this.u64(size);
    return this.u32(type).u64(offset);
  }
  /** Padding, then so many bytes of tensors. */
  file(dataBytes = 0, alignment = 32): Uint8Array {
    const header = Buffer.concat(this.parts);
    const start = dataBytes === 0 ? header.length : Math.ceil(header.length / alignment) * alignment;
    const bytes = new Uint8Array(start + dataBytes);
    bytes.set(header);
    return bytes;
  }
}

const draft = (tensors: number | bigint, keys: number | bigint) => new Draft(tensors, keys);

describe("what is accepted", () => {
  it.each<[string, Uint8Array]>([
    ["nothing at all", draft(0, 0).file()],
    ["version 2", new Draft(0, 0, 2).file()],
    ["a tensor without dimensions", draft(1, 0).tensor("a", []).file(4)],
    ["an empty tensor", draft(2, 0).tensor("a", [0]).tensor("b", [1]).file(4)],
    ["a last tensor without padding behind it", draft(2, 0).tensor("a", [1]).tensor("b", [1], 32).file(36)],
    [
      "arrays four deep",
      draft(0, 1)
        .key("k", "array")
        .array("array", 1)
        .array("array", 1)
        .array("array", 1)
        .array("u8", 0)
        .file(),
    ],
    [
      "more than a million tokens",
      draft(0, 1)
        .key("tokenizer.ggml.tokens", "array")
        .array("string", 1_000_001)
        .raw(new Uint8Array(8 * 1_000_001))
        .file(),
    ],
  ])("%s", async (_, file) => {
    await expect(open(file)).resolves.toBeDefined();
  });
});

const eos = (id: (d: Draft) => Draft) =>
  id(draft(0, 2).key("tokenizer.ggml.tokens", "array").array("string", 2).text("a").text("b")).file();

const hostile: [what: string, file: Uint8Array, code: string, says: RegExp][] = [
  ["three bytes", draft(0, 0).file().subarray(0, 3), "too-short", /ends at byte 3, its magic/],
  ["another magic", new Draft(0, 0, 3, "GGML").file(), "magic", /not with "GGUF"/],
  ["version 0", new Draft(0, 0, 0).file(), "version", /of version 0; versions 2 and 3/],
  ["version 1", new Draft(0, 0, 1).file(), "version", /of version 1/],
  ["version 4", new Draft(0, 0, 4).file(), "version", /of version 4/],
  ["a big-endian file", new Draft(0, 0, 0x03000000).file(), "big-endian", /big-endian/],
  ["-1 tensors", draft(-1, 0).file(), "too-many", /tensors/],
  ["-1 keys", draft(0, -1).file(), "too-many", /keys/],
  ["more than 100 000 keys", draft(0, 100_001).file(), "too-many", new RegExp(`${MAX_KEYS} is the largest`)],
  ["more tensors than allowed", draft(MAX_TENSORS + 1, 0).file(), "too-many", /tensors/],
  ["fewer keys than announced", draft(0, 1).file(), "too-short", /a key reaches to/],
  ["a key of -1 bytes", draft(0, 1).text("k", -1).file(), "string-length", /a key of .* bytes/],
  ["a key beyond the end", draft(0, 1).text("k", 100).file(), "too-short", /a key reaches to 132/],
  ["an empty key", draft(0, 1).key("", "u8").raw(Uint8Array.of(1)).file(), "key", /the key ""/],
  ["a key with a NUL", draft(0, 1).key("a\0", "u8").raw(Uint8Array.of(1)).file(), "key", /a\\u0000/],
  ["a key that is not UTF-8", draft(0, 1).u64(1).raw(Uint8Array.of(0xff)).u32(0).file(), "utf8", /not UTF-8/],
  ["a value of type 13", draft(0, 1).text("k").u32(13).file(), "value-type", /"k" the unknown type 13/],
  [
    "a key twice",
    draft(0, 2).key("k", "u32").u32(1).key("k", "u32").u32(1).file(),
    "duplicate-key",
    /key "k" twice/,
  ],
  ["a bool of 2", draft(0, 1).key("k", "bool").raw(Uint8Array.of(2)).file(), "bool", /2 for true or false/],
  [
    "a value that is cut",
    draft(0, 1).key("k", "u64").u32(1).file(),
    "too-short",
    /a value reaches to 45 \(at "k"\)/,
  ],
  [
    "a string over 10 MB",
    draft(0, 1)
      .key("k", "string")
      .u64(MAX_STRING_BYTES + 1)
      .file(),
    "string-length",
    /10000000 are allowed/,
  ],
  [
    "a string that is not UTF-8",
    draft(0, 1).key("k", "string").u64(2).raw(Uint8Array.of(0xc3, 0x28)).file(),
    "utf8",
    /a string that is not UTF-8 \(at "k"\)/,
  ],
  [
    "a token that is not UTF-8",
    draft(0, 1).key("k", "array").array("string", 2).text("a").u64(1).raw(Uint8Array.of(0x80)).file(),
    "utf8",
    /list that is not UTF-8 \(at "k"\)/,
  ],
  [
    "an array over a million",
    draft(0, 1).key("k", "array").array("u8", 1_000_001).raw(new Uint8Array(1_000_001)).file(),
    "array-length",
    /1000001 entries in "k"/,
  ],
  ["an array of -1", draft(0, 1).key("k", "array").array("u8", -1).file(), "array-length", /entries in "k"/],
  [
    "a token list of -1",
    draft(0, 1).key("tokenizer.ggml.tokens", "array").array("string", -1).file(),
    "too-short",
    /reaches to/,
  ],
  [
    "an array that is cut",
    draft(0, 1).key("k", "array").array("u64", 1000).u64(1).file(),
    "too-short",
    /an array reaches to .*"k"/,
  ],
  [
    "arrays five deep",
    [1, 2, 3, 4]
      .reduce((d) => d.array("array", 1), draft(0, 1).key("k", "array"))
      .array("u8", 0)
      .file(),
    "nesting",
    /deeper than 4/,
  ],
  [
    "many arrays within arrays",
    draft(0, 1).key("k", "array").array("array", 100_000).file(),
    "nesting",
    /more than 10000 arrays/,
  ],
  [
    "an array of no type",
    draft(0, 1).key("k", "array").u32(99).u64(0).file(),
    "value-type",
    /unknown type 99/,
  ],
  ["alignment 13", draft(0, 1).key("general.alignment", "u32").u32(13).file(), "alignment", /of 13/],
  ["alignment 0", draft(0, 1).key("general.alignment", "u32").u32(0).file(), "alignment", /of 0/],
  [
    "an alignment of another type",
    draft(0, 1).key("general.alignment", "u64").u64(32).file(),
    "alignment",
    /type u64, expected u32/,
  ],
  [
    "a token at the vocabulary's end",
    eos((d) => d.key("tokenizer.ggml.eos_token_id", "u32").u32(2)),
    "token-id",
    /eos_token_id" 2, expected a token below 2/,
  ],
  [
    "a negative token",
    eos((d) => d.key("tokenizer.ggml.padding_token_id", "i32").u32(2 ** 32 - 1)),
    "token-id",
    /-1/,
  ],
  [
    "a list of tokens beyond the vocabulary",
    eos((d) => d.key("tokenizer.ggml.eog_token_ids", "array").array("u32", 2).u32(1).u32(7)),
    "token-id",
    /eog_token_ids" 7/,
  ],
  ["a tensor's name of 64 bytes", draft(1, 0).tensor("n".repeat(64), [1]).file(4), "string-length", /63/],
  ["a tensor's name of -1 bytes", draft(1, 0).text("n", -1).file(), "string-length", /a tensor's name/],
  ["a tensor without a name", draft(1, 0).tensor("", [1]).file(4), "name", /called ""/],
  [
    "a tensor twice",
    draft(2, 0).tensor("a", [1]).tensor("a", [1], 32).file(36),
    "duplicate-tensor",
    /"a" twice/,
  ],
  ["5 dimensions", draft(1, 0).tensor("a", [1, 1, 1, 1, 1]).file(4), "dimensions", /5 dimensions/],
  ["dimension -1", draft(1, 0).tensor("a", [-1]).file(4), "overflow", /beyond 2\^53/],
  [
    "a shape whose product overflows",
    draft(1, 0)
      .tensor("a", [2 ** 32, 2 ** 32])
      .file(4),
    "overflow",
    /more than 2\^53/,
  ],
  [
    "a shape whose bytes overflow",
    draft(1, 0)
      .tensor("a", [2 ** 52])
      .file(4),
    "overflow",
    /more than 2\^53/,
  ],
  [
    "an overflow hidden by a zero",
    draft(1, 0)
      .tensor("a", [2 ** 32, 2 ** 32, 0])
      .file(4),
    "overflow",
    /more than 2\^53/,
  ],
  ["an unknown element type", draft(1, 0).tensor("a", [1], 0, 4).file(4), "tensor-type", /element type 4/],
  ["half a block", draft(1, 0).tensor("a", [33], 0, 8).file(68), "blocks", /Q8_0 needs multiples of 32/],
  [
    "an offset that is not aligned",
    draft(1, 0).tensor("a", [1], 4).file(8),
    "misaligned",
    /no multiple of 32/,
  ],
  ["an offset that leaves a hole", draft(1, 0).tensor("a", [1], 32).file(36), "offset", /at 32, expected 0/],
  [
    "tensors that overlap",
    draft(2, 0).tensor("a", [1]).tensor("b", [1], 0).file(36),
    "offset",
    /"b" at 0, expected 32/,
  ],
  ["an offset near 2^64", draft(1, 0).tensor("a", [1], -32).file(4), "offset", /expected 0/],
  ["data that is short", draft(1, 0).tensor("a", [2]).file(7), "data-short", /reaches to/],
  ["no data", draft(1, 0).tensor("a", [2]).file(), "data-short", /reaches to/],
];

describe("what is refused", () => {
  it.each(hostile)("%s", async (_, file, code, says) => {
    const error = await refusal(file);
    expect(error.code).toBe(`gguf-${code}`);
    expect(error.message).toMatch(says);
    expect(error.message).toContain("m.gguf");
    expect(error.remedy).not.toBe("");
  });

  it("a header without end, and no more than its bytes are held", async () => {
    const size = 2 ** 40;
    let most = 0;
    const claims = draft(0, 1)
      .key("tokenizer.ggml.tokens", "array")
      .array("string", 2 ** 36)
      .file();
    const source: ByteSource = {
      name: "m.gguf",
      size,
      async read(start, end) {
        most = Math.max(most, end - start);
        const bytes = new Uint8Array(end - start);
        if (start === 0) bytes.set(claims);
        return bytes;
      },
    };
    await expect(openGguf(source)).rejects.toThrow(`more than ${MAX_HEADER_BYTES} bytes`);
    expect(most).toBeLessThan(2 ** 20);
  });

  it("offsets past 4 GiB are counted, not wrapped", async () => {
    const bytes = 2 ** 32 + 4;
    const header = draft(2, 0)
      .tensor("big", [bytes], 0, 24)
      .tensor("next", [4], 2 ** 32 + 32, 24)
      .file();
    const dataStart = Math.ceil(header.length / 32) * 32;
    const asked: number[] = [];
    const source: ByteSource = {
      name: "m.gguf",
      size: dataStart + 2 ** 32 + 36,
      async read(start, end) {
        asked.push(start);
        const piece = new Uint8Array(end - start);
        if (start === 0) piece.set(header);
        return piece;
      },
    };
    const { tensors } = await openGguf(source);
    await tensors.get("next")!.read();
    expect(asked.at(-1)).toBe(dataStart + 2 ** 32 + 32);
  });

  const many = (count: number, part: (d: Draft, i: number) => void, head: Draft) => {
    for (let i = 0; i < count; i++) part(head, i);
    return head.file();
  };
  it.each<[string, Uint8Array]>([
    ["keys", many(MAX_KEYS, (d, i) => d.key(`${i}`, "bool").raw(Uint8Array.of(1)), draft(0, MAX_KEYS))],
    ["tensors", many(MAX_TENSORS, (d, i) => d.tensor(`${i}`, []), draft(MAX_TENSORS, 0))],
    [
      "inner arrays",
      many(10_000, (d) => d.array("u8", 0), draft(0, 1).key("k", "array").array("array", 10_000)),
    ],
    ["empty strings", draft(0, 1).key("k", "array").array("string", 1e6).raw(new Uint8Array(8e6)).file()],
    ["flags", draft(0, 1).key("k", "array").array("bool", 1e6).raw(new Uint8Array(1e6)).file()],
  ])("as many %s as allowed take under a second and hold no more than twice their bytes", async (_, file) => {
    collectGarbage();
    const before = held();
    const start = cpuMs();
    const result = await open(file).catch((error: unknown) => error);
    expect(cpuMs() - start).toBeLessThan(SECOND_MS);
    collectGarbage();
    expect(held() - before).toBeLessThan(2 * file.length + 4 * 2 ** 20);
    expect(result).toBeDefined();
  });
});

describe("values", () => {
  it.each(["every_type.gguf", "rounded.gguf"])("are written as gguf-py quantises them: %s", async (name) => {
    const { tensors } = await open(fixture(name));
    const named = (type: WrittenGgmlType) =>
      tensors.get(type) ?? tensors.get(`${type.toLowerCase()}.weight`)!;
    const values = toFloat32OfGgml(await named("F32").read(), "F32");
    for (const type of ["F32", "F16", "Q8_0"] as const) {
      expect(fromFloat32ToGgml(values, type), type).toEqual(new Uint8Array(await named(type).read()));
    }
  });
});

describe("writing", () => {
  const one = (changes: Partial<GgufTensorToWrite> = {}): GgufTensorToWrite => ({
    name: "a",
    type: "F32",
    shape: [1],
    pieces: () => [new Uint8Array(4)],
    ...changes,
  });
  const write = async (tensors: GgufTensorToWrite[], metadata: [string, GgufValue][] = []) =>
    bytesOf(writeGguf("a.gguf", new Map(metadata), tensors));

  it.each<[string, GgufTensorToWrite[], RegExp]>([
    ["a name given twice", [one(), one()], /"a" is given twice/],
    ["too few bytes", [one({ shape: [2] })], /gave 4 bytes, \[2\] needs 8/],
    ["too many bytes", [one({ shape: [0] })], /gave 4 bytes, \[0\] needs 0/],
    ["a long name", [one({ name: "ä".repeat(32) })], /64 bytes, 1 to 63/],
    ["five dimensions", [one({ shape: [1, 1, 1, 1, 1] })], /5 dimensions/],
    ["half a block", [one({ type: "Q8_0", shape: [31] })], /rows of 31 elements/],
  ])("refuses %s", async (_, tensors, says) => {
    await expect(write(tensors)).rejects.toThrow(says);
  });

  it("refuses an alignment that is none, and a number that its type cannot hold", async () => {
    await expect(write([], [["general.alignment", { type: "u32", value: 13 }]])).rejects.toThrow(
      /power of two/,
    );
    await expect(write([], [["k", { type: "u8", value: 256 }]])).rejects.toThrow(
      /256 is no value of type u8/,
    );
  });

  it("knows a file's size before its bytes", async () => {
    for (const tensors of [
      [],
      [one()],
      [one(), one({ name: "b", shape: [33], pieces: () => [new Uint8Array(132)] })],
    ]) {
      const stream = writeGguf("a.gguf", new Map([["k", { type: "u8", value: 1 }]]), tensors);
      expect((await bytesOf(stream)).length).toBe(stream.byteLength);
    }
  });

  it("asks for a tensor only when the one before it has been taken", async () => {
    const asked: string[] = [];
    const named = (name: string) =>
      one({
        name,
        *pieces() {
          asked.push(name);
          yield new Uint8Array(4);
        },
      });
    const { pieces: take } = writeGguf("ab.gguf", new Map(), [named("a"), named("b")]);
    const pieces = take()[Symbol.asyncIterator]();
    await pieces.next();
    expect(asked).toEqual([]);
    while (asked.length === 0) await pieces.next();
    expect(asked).toEqual(["a"]);
  });
});

describe("a mutated file", () => {
  it("is read or refused with a FormatError, never anything else", async () => {
    const seed = Number(process.env.GRAFT_SEED ?? 20240611);
    const random = wholeNumber(seed);
    const original = fixture("every_type.gguf");
    const headerBytes = 1400;
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const file = original.slice();
      for (let change = random(3); change >= 0; change--) {
        const at = random(headerBytes);
        file.fill([0, 255, random(256)][random(3)]!, at, at + 1 + random(8));
      }
      const cut = random(8) === 0 ? file.subarray(0, random(file.length)) : file;
      const thrown = await open(cut).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (thrown === undefined) continue;
      refused++;
      expect(thrown, `seed ${seed}, round ${round}`).toBeInstanceOf(FormatError);
    }
    expect(refused).toBeGreaterThan(1000);
  });
});
