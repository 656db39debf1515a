import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { StoredType } from "../../src/base/bytes.ts";
import { FormatError } from "../../src/base/errors.ts";
import { toFloat32 } from "../../src/formats/floats.ts";
import {
  MAX_HEADER_BYTES,
  MAX_TENSORS,
  openSafetensors,
  streamSafetensors,
  type TensorToStream,
  type TensorToWrite,
  writeSafetensors,
} from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { wholeNumber } from "../harness/random.ts";
import { cpuMs, SECOND_MS } from "../harness/second.ts";
import { bytesOf } from "../harness/streams.ts";

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));

/** A file with this header text and so many zero bytes of data. */
function fileOf(header: string | Uint8Array, dataBytes = 0): Uint8Array {
  const bytes = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + bytes.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(bytes.length), true);
  file.set(bytes, 8);
  return file;
}

const open = (bytes: Uint8Array) => openSafetensors(arraySource(bytes, "m.safetensors"));

async function refusal(bytes: Uint8Array): Promise<FormatError> {
  const thrown = await open(bytes).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(FormatError);
  return thrown as FormatError;
}

const tensor = (shape: string, offsets: string, dtype = "F32") =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

function inPieces({ bytes, ...layout }: TensorToWrite): TensorToStream {
  return {
    ...layout,
    async *pieces() {
      yield bytes.subarray(0, 1);
      yield bytes.subarray(1);
    },
  };
}

describe("files that Python wrote", () => {
  it.each(["every_type.safetensors", "names.safetensors"])(
    "reads %s and writes the same bytes",
    async (name) => {
      const bytes = fixture(name);
      const file = await open(bytes);
      const tensors: TensorToWrite[] = [];
      // Handed over in reverse: the order in the file must come from the writer.
      for (const stored of [...file.tensors.values()].reverse()) {
        tensors.push({
          name: stored.name,
          dtype: stored.dtype,
          shape: stored.shape,
          bytes: await stored.read(),
        });
      }
      expect(tensors.length).toBeGreaterThan(8);
      const metadata = Object.fromEntries(file.metadata);
      expect(writeSafetensors(tensors, metadata)).toEqual(bytes);
      const stream = streamSafetensors(name, tensors.map(inPieces), metadata);
      expect(await bytesOf(stream)).toEqual(bytes);
      expect(stream.byteLength).toBe(bytes.length);
    },
  );

  it("gives shapes, types, metadata and values", async () => {
    const { metadata, tensors } = await open(fixture("every_type.safetensors"));
    expect([...metadata]).toEqual([["format", "pt"]]);
    expect(tensors.get("f32")).toMatchObject({ dtype: "F32", shape: [3, 4], byteLength: 48 });
    expect(tensors.get("scalar")).toMatchObject({ dtype: "F32", shape: [], byteLength: 4 });
    expect(tensors.get("empty")).toMatchObject({ shape: [2, 0], byteLength: 0 });
    expect(toFloat32(await tensors.get("scalar")!.read(), "F32")).toEqual(Float32Array.of(2.5));
    expect(await tensors.get("u8")!.read()).toEqual(Uint8Array.of(0, 255));
    expect(await tensors.get("i8")!.read(1, 2)).toEqual(Uint8Array.of(127));
  });

  it("keeps a tensor called __proto__ to itself", async () => {
    const { tensors } = await open(fixture("names.safetensors"));
    expect(tensors.has("__proto__")).toBe(true);
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });

  it("does not read beyond a tensor", async () => {
    const { tensors } = await open(fixture("every_type.safetensors"));
    await expect(tensors.get("i8")!.read(0, 3)).rejects.toThrow(/bytes 0 to 3 of the 2 of tensor "i8"/);
    await expect(tensors.get("i8")!.read(-1, 1)).rejects.toThrow(FormatError);
  });
});

describe("what is accepted", () => {
  it.each([
    ["no tensor", "{}", 0],
    ["white space around the header", `  \n{ "a" : ${tensor("[1]", "[ 0 , 4 ]")} }  `, 4],
    ["a scalar", `{"a":${tensor("[]", "[0,4]")}}`, 4],
    [
      "an empty tensor between others",
      `{"a":${tensor("[1]", "[0,4]")},"e":${tensor("[2,0]", "[4,4]")},"b":${tensor("[1]", "[4,8]")}}`,
      8,
    ],
    ["tensors in any order", `{"b":${tensor("[1]", "[4,8]")},"a":${tensor("[1]", "[0,4]")}}`, 8],
    ["keys in any order", `{"a":{"data_offsets":[0,2],"shape":[2],"dtype":"U8"}}`, 2],
    ["a name that is escaped", `{"\\u0061\\ud83d\\ude00":${tensor("[1]", "[0,4]")}}`, 4],
  ])("%s", async (_, header, dataBytes) => {
    await expect(open(fileOf(header, dataBytes))).resolves.toBeDefined();
  });

  it("decodes escapes in names", async () => {
    const { tensors } = await open(fileOf(`{"\\u0061\\ud83d\\ude00\\n":${tensor("[1]", "[0,4]")}}`, 4));
    expect([...tensors.keys()]).toEqual(["a\u{1f600}\n"]);
  });
});

const good = tensor("[1]", "[0,4]");
const utf8 = new TextEncoder();
const hostile: [what: string, file: Uint8Array, code: string, says: RegExp][] = [
  ["seven bytes", new Uint8Array(7), "too-short", /has 7 bytes/],
  ["a header beyond the end", fileOf("{}").subarray(0, 9), "header-beyond-end", /up to byte 10/],
  ["a header of 2^64 − 1 bytes", new Uint8Array(16).fill(255), "header-too-long", /announces a header/],
  [
    "a pointer of Git LFS",
    utf8.encode("version https://git-lfs.github.com/spec/v1\n"),
    "other-file",
    /is a pointer of Git LFS.*git lfs pull/,
  ],
  ["a web page", utf8.encode("<!DOCTYPE html><html></html>"), "other-file", /is a web page/],
  ["what torch.save writes", utf8.encode("PK\x03\x04\0\0\0\0"), "other-file", /pickles.*save_pretrained/],
  ["no header", fileOf(""), "header-syntax", /'\{' was expected/],
  ["a header that is a list", fileOf("[]"), "header-syntax", /'\{' was expected/],
  ["no JSON", fileOf("{a:1}"), "header-type", /a string was expected/],
  ["an unfinished header", fileOf(`{"a":${good}`, 4), "header-syntax", /'\}' was expected/],
  ["something after the header's object", fileOf(`{"a":${good}}x`, 4), "header-syntax", /after the end/],
  ["a comma too many", fileOf(`{"a":${good},}`, 4), "header-type", /a string was expected/],
  [
    "a name that is not UTF-8",
    fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)),
    "header-utf8",
    /not UTF-8/,
  ],
  [
    "bytes that are not UTF-8 between tokens",
    fileOf(Uint8Array.of(0x7b, 0xc3, 0x7d)),
    "header-type",
    /expected/,
  ],
  ["half a surrogate pair", fileOf(`{"\\ud800":${good}}`, 4), "header-utf8", /surrogate/],
  ["a raw control character in a name", fileOf(`{"a\n":${good}}`, 4), "header-syntax", /control character/],
  ["a byte-order mark", fileOf(`\ufeff{"a":${good}}`, 4), "header-syntax", /'\{' was expected/],
  [
    "a tensor twice",
    fileOf(`{"a":${good},"a":${tensor("[1]", "[4,8]")}}`, 8),
    "duplicate-key",
    /tensor "a" twice/,
  ],
  [
    "a tensor twice, spelt differently",
    fileOf(`{"a":${good},"\\u0061":${tensor("[1]", "[4,8]")}}`, 8),
    "duplicate-key",
    /twice/,
  ],
  [
    "a shape twice",
    fileOf(`{"a":{"shape":[2],"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4),
    "duplicate-key",
    /"shape" of tensor "a" twice/,
  ],
  [
    "metadata twice",
    fileOf(`{"__metadata__":{},"__metadata__":{}}`),
    "duplicate-key",
    /"__metadata__" twice/,
  ],
  [
    "a metadata key twice",
    fileOf(`{"__metadata__":{"k":"1","k":"2"}}`),
    "duplicate-key",
    /metadata key "k" twice/,
  ],
  ["metadata that is a number", fileOf(`{"__metadata__":{"k":1}}`), "metadata-type", /"k" that is no string/],
  ["metadata that is a list", fileOf(`{"__metadata__":["k"]}`), "header-syntax", /'\{' was expected/],
  [
    "tensors that overlap",
    fileOf(`{"a":${tensor("[2]", "[0,8]")},"b":${tensor("[2]", "[4,12]")}}`, 12),
    "overlap",
    /"b" overlap/,
  ],
  ["a hole at the start", fileOf(`{"a":${tensor("[1]", "[4,8]")}}`, 8), "hole", /4 bytes before tensor "a"/],
  [
    "a hole in the middle",
    fileOf(`{"a":${good},"b":${tensor("[1]", "[8,12]")}}`, 12),
    "hole",
    /before tensor "b"/,
  ],
  [
    "an empty tensor in the void",
    fileOf(`{"a":${good},"b":${tensor("[0]", "[9,9]")}}`, 9),
    "hole",
    /before tensor "b"/,
  ],
  ["trailing bytes", fileOf(`{"a":${good}}`, 5), "trailing-bytes", /1 bytes after its last tensor/],
  ["trailing bytes after no tensor", fileOf("{}", 3), "trailing-bytes", /3 bytes/],
  ["data that is short", fileOf(`{"a":${good}}`, 3), "data-short", /reach to/],
  [
    "an end before its beginning",
    fileOf(`{"a":${tensor("[1]", "[4,0]")}}`, 4),
    "offsets",
    /end at 0, before it begins at 4/,
  ],
  ["a negative offset", fileOf(`{"a":${tensor("[1]", "[-4,0]")}}`, 4), "header-negative", /negative/],
  ["a fractional offset", fileOf(`{"a":${tensor("[1]", "[0.5,4]")}}`, 4), "header-fraction", /not whole/],
  [
    "an offset with an exponent",
    fileOf(`{"a":${tensor("[1]", "[0,4e0]")}}`, 4),
    "header-fraction",
    /not whole/,
  ],
  [
    "an offset with a leading zero",
    fileOf(`{"a":${tensor("[1]", "[00,4]")}}`, 4),
    "header-syntax",
    /leading zero/,
  ],
  [
    "an offset that is a string",
    fileOf(`{"a":${tensor("[1]", '["0",4]')}}`, 4),
    "header-type",
    /whole number/,
  ],
  [
    "an offset above 2^53",
    fileOf(`{"a":${tensor("[1]", "[0,9007199254740993]")}}`, 4),
    "header-too-large",
    /2\^53/,
  ],
  ["three offsets", fileOf(`{"a":${tensor("[1]", "[0,4,8]")}}`, 4), "tensor-key", /more than 2 numbers/],
  ["one offset", fileOf(`{"a":${tensor("[1]", "[0]")}}`, 4), "tensor-key", /two data_offsets/],
  [
    "a length that the shape does not have",
    fileOf(`{"a":${tensor("[2]", "[0,4]")}}`, 4),
    "length",
    /4 bytes, F32 \[2\] needs 8/,
  ],
  [
    "a shape whose product overflows",
    fileOf(`{"a":${tensor("[4294967296,4294967296]", "[0,0]")}}`),
    "overflow",
    /2\^53/,
  ],
  [
    "an overflow hidden by a zero",
    fileOf(`{"a":${tensor("[0,4294967296,4294967296]", "[0,0]")}}`),
    "overflow",
    /2\^53/,
  ],
  ["a negative dimension", fileOf(`{"a":${tensor("[-1]", "[0,4]")}}`, 4), "header-negative", /negative/],
  ["an unknown type", fileOf(`{"a":${tensor("[1]", "[0,4]", "F33")}}`, 4), "dtype", /"F33"; known are I64/],
  [
    "a type of the prototype",
    fileOf(`{"a":${tensor("[1]", "[0,4]", "toString")}}`, 4),
    "dtype",
    /"toString"/,
  ],
  ["a NUL in a name", fileOf(`{"a\\u0000":${good}}`, 4), "name", /NUL/],
  [
    "an unknown key",
    fileOf(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"__proto__":{}}}`, 4),
    "tensor-key",
    /"__proto__"/,
  ],
  ["no dtype", fileOf(`{"a":{"shape":[1],"data_offsets":[0,4]}}`, 4), "tensor-key", /lacks dtype/],
  ["a tensor that is null", fileOf(`{"a":null}`), "header-syntax", /'\{' was expected/],
  [
    "too many dimensions",
    fileOf(`{"a":${tensor(`[${"1,".repeat(16)}1]`, "[0,4]")}}`, 4),
    "tensor-key",
    /more than 16/,
  ],
];

describe("what is refused", () => {
  it.each(hostile)("%s", async (_, file, code, says) => {
    const error = await refusal(file);
    expect(error.code).toBe(`safetensors-${code}`);
    expect(error.message).toMatch(says);
    expect(error.message).toContain("m.safetensors");
    expect(error.remedy).not.toBe("");
  });

  it("a header above 25 MB, without reading it", async () => {
    const source = {
      name: "huge.safetensors",
      size: 10 * MAX_HEADER_BYTES,
      read: async (start: number, end: number) => {
        expect(end - start).toBe(8);
        return Uint8Array.from([
          ...new Uint8Array(new Uint32Array([MAX_HEADER_BYTES + 1]).buffer),
          0,
          0,
          0,
          0,
        ]);
      },
    };
    await expect(openSafetensors(source)).rejects.toThrow(/header of 25000001 bytes, 25000000 are allowed/);
  });

  it("more tensors than a file may have", async () => {
    const names = Array.from({ length: MAX_TENSORS + 1 }, (_, i) => `"${i}":${tensor("[0]", "[0,0]")}`);
    expect((await refusal(fileOf(`{${names.join(",")}}`))).code).toBe("safetensors-too-many-tensors");
  });

  it.each([
    ["nested lists", `{"a":${"[".repeat(20_000_000)}`],
    ["an endless shape", `{"a":{"shape":[${"1,".repeat(10_000_000)}`],
    ["an endless name", `{"${"a".repeat(20_000_000)}`],
    [
      "many metadata keys",
      `{"__metadata__":{${Array.from({ length: 600_000 }, (_, i) => `"${i}":""`).join(",")}`,
    ],
  ])("20 MB of %s, in under a second and without holding more than twice that", async (_, header) => {
    const file = fileOf(header);
    const heapBefore = process.memoryUsage().heapUsed;
    const start = cpuMs();
    await refusal(file);
    expect(cpuMs() - start).toBeLessThan(SECOND_MS);
    expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(2 * header.length + 4 * 2 ** 20);
  });
});

describe("writing", () => {
  const bytes = new Uint8Array(4);
  const one = { name: "a", dtype: "F32" as StoredType, shape: [1], bytes };

  it("refuses bytes that do not fit the shape, and a name given twice", () => {
    expect(() => writeSafetensors([{ ...one, shape: [2] }])).toThrow(/has 4 bytes, \[2\] needs 8/);
    expect(() => writeSafetensors([one, one])).toThrow(/given twice/);
    expect(() => writeSafetensors([{ ...one, name: "__metadata__" }])).toThrow(FormatError);
  });

  it("refuses a stream of more or fewer bytes than the shape has", async () => {
    for (const shape of [[0], [2]]) {
      const stream = streamSafetensors("a.safetensors", [inPieces({ ...one, shape })]);
      await expect(bytesOf(stream)).rejects.toThrow(/gave [14] bytes, .* needs [08]/);
    }
  });

  it("gives a file without tensors that can be read", async () => {
    expect((await open(writeSafetensors([], { format: "pt" }))).metadata.get("format")).toBe("pt");
  });
});

describe("a mutated file", () => {
  it("is read or refused with a FormatError, never anything else", async () => {
    const seed = Number(process.env.GRAFT_SEED ?? 20240611);
    const random = wholeNumber(seed);
    const originals = [fixture("every_type.safetensors"), fixture("names.safetensors")];
    const pieces = [
      '"',
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      "-",
      "0",
      "9".repeat(20),
      "1e9",
      "\\",
      "\\u0000",
      "null",
      "\0",
      "é",
    ];
    let refused = 0;
    for (let round = 0; round < 2000; round++) {
      const file = originals[round % 2]!.slice();
      const headerBytes = new DataView(file.buffer).getUint32(0, true);
      for (let change = random(3); change >= 0; change--) {
        const at = random(10) === 0 ? random(8) : 8 + random(headerBytes);
        if (random(2) === 0) file[at] = random(256);
        else
          file.set(new TextEncoder().encode(pieces[random(pieces.length)]).subarray(0, file.length - at), at);
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
