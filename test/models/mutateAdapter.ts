/** Adapter files as a bad download, a bad tool or a bad stranger would spoil them, drawn from a seed. */
import { zipSync } from "fflate";
import { GGML_TYPES } from "../../src/formats/ggml.ts";
import { GGUF_TYPES } from "../../src/formats/gguf-values.ts";
import { LORA_KEYS } from "../../src/lora/fields.ts";

export const CONFIG = "adapter_config.json";
export const WEIGHTS = "adapter_model.safetensors";

/** mulberry32: uniform in [0, 1). */
export class Draw {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  below(count: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * count);
  }

  one<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}

type Files = ReadonlyMap<string, Uint8Array>;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const nested = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth);

/** Values as JSON text: of every type, at every edge, and such as only a stranger would write. */
const VALUES: readonly string[] = [
  ...["null", "true", "false", "0", "-1", "1", "2", "1.5", "1e-320", "1e308", "1e999", "9007199254740993"],
  ...['""', '"q_proj"', '"all-linear"', '"all"', '"lora_only"', '"none"', '"gaussian"', '"pissa"', '"eva"'],
  ...['"(.*)*_proj"', '"(?=a)b"', '"(a"', '"\\\\"', '"\\ud800"', '"\\u0000"', '"__proto__"', '"LORA"'],
  ...["[]", "{}", "[[]]", "[null]", '[""]', '["q_proj", 1]', '["__proto__"]', "[0, 1]", "[-1]", "[1e999]"],
  ...[
    '["q_proj", "q_proj"]',
    '["model"]',
    '["layers"]',
    '["lm_head"]',
    '["embed_tokens"]',
    '["wte"]',
    '["norm"]',
  ],
  ...[
    '{"q_proj": 3}',
    '{"q_proj": 0}',
    '{"(": 1}',
    '{"__proto__": 1}',
    '{"a": {"b": []}}',
    '{"toString": 1}',
  ],
  '"(((.?){10}){10}){10}x"',
  `"${".{1000}".repeat(300)}"`,
  `"${"a".repeat(100_000)}"`,
  `[${'"a",'.repeat(5000)}"q_proj"]`,
  `[${"0,".repeat(5000)}1]`,
  nested(10_000, "[", "]"),
  nested(10_000, '{"a":[', "]}"),
];

const BITS = [1, 2, 4, 8, 16, 32, 64, 128];
/** What a reader might trip over in a text or in lengths. */
const PIECES = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "-",
  "\\",
  "9".repeat(20),
  "1e9",
  "null",
  "\0",
  "é",
  "\ufeff",
  "//",
  "  ",
];

function flipped(bytes: Uint8Array, draw: Draw, within = bytes.length): Uint8Array {
  const result = bytes.slice();
  for (let change = draw.below(8); change >= 0; change--) result[draw.below(within)]! ^= draw.one(BITS);
  return result;
}

function truncated(bytes: Uint8Array, draw: Draw): Uint8Array {
  return bytes.slice(0, draw.below(bytes.length));
}

/** A piece of text put in, put in place of as much, or taken out. */
function edited(bytes: Uint8Array, draw: Draw): Uint8Array {
  const piece = encoder.encode(draw.one(PIECES));
  const at = draw.below(bytes.length);
  const [kept, added] = draw.one([
    [at, piece],
    [at + piece.length, piece],
    [at + 1 + draw.below(20), new Uint8Array()],
  ] as const);
  return new Uint8Array(Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(kept)]));
}

const LENGTHS = [
  0n,
  1n,
  7n,
  8n,
  255n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

function withLength(bytes: Uint8Array, at: number, draw: Draw): Uint8Array {
  const result = bytes.slice();
  const view = new DataView(result.buffer);
  const near = view.getBigUint64(at, true) + BigInt(draw.below(17)) - 8n;
  view.setBigUint64(at, BigInt.asUintN(64, draw.below(2) === 0 ? near : draw.one(LENGTHS)), true);
  return result;
}

/** One entry of a header, as JSON text by key. */
type Entry = Record<string, string>;

/** Header and data of a safetensors file, taken apart so far that anything can be put together again. */
function editHeader(file: Uint8Array, draw: Draw): Uint8Array {
  const length = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const header = JSON.parse(decoder.decode(file.subarray(8, 8 + length))) as Record<string, Entry>;
  const entries = Object.entries(header).map(([name, entry]): [string, Entry] => [
    JSON.stringify(name),
    Object.fromEntries(Object.entries(entry).map(([key, value]) => [key, JSON.stringify(value)])),
  ]);
  const edits = [renamed, swapped, respelt, reshaped, repeated, without];
  for (let change = draw.below(2); change >= 0; change--) draw.one(edits)(entries, draw);
  const text = entries
    .map(([name, entry]) => `${name}:{${Object.entries(entry).map(([key, json]) => `"${key}":${json}`)}}`)
    .join();
  const bytes = encoder.encode(`{${text}}`);
  const start = new Uint8Array(8);
  new DataView(start.buffer).setUint32(0, bytes.length, true);
  return new Uint8Array(Buffer.concat([start, bytes, file.subarray(8 + length)]));
}

type Edit = (entries: [string, Entry][], draw: Draw) => void;

const RENAMINGS: ((name: string) => string)[] = [
  (name) => name.replace("lora_A", "lora_B"),
  (name) => name.replace("lora_", "lora_embedding_").replace(".weight", ""),
  (name) => name.replace(".weight", ".default.weight"),
  (name) => name.replace(/\.lora_.*/, '.base_layer.weight"'),
  (name) => name.replace("0", "1"),
  (name) => name.replace("0", "9".repeat(30)),
  (name) => name.replace("base_model.model.", ""),
  () => '""',
  () => '"__proto__"',
  () => '"\\u0000"',
  () => '"__metadata__"',
  () => '"base_model.model.lm_head.base_layer.weight"',
];

const renamed: Edit = (entries, draw) => {
  const entry = draw.one(entries);
  entry[0] = draw.one(RENAMINGS)(entry[0]);
};

const swapped: Edit = (entries, draw) => {
  const [one, other] = [draw.one(entries), draw.one(entries)];
  [one[0], other[0]] = [other[0], one[0]];
};

const TYPES = [
  "F64",
  "F32",
  "F16",
  "BF16",
  "I64",
  "I32",
  "I16",
  "I8",
  "U8",
  "BOOL",
  "F8_E4M3",
  "",
  "f32",
  "toString",
];

/** Any key of an entry gets any value. */
const respelt: Edit = (entries, draw) => {
  const [, entry] = draw.one(entries);
  const key = draw.one([...Object.keys(entry), "__proto__", "extra"]);
  const value = key === "dtype" && draw.below(4) > 0 ? JSON.stringify(draw.one(TYPES)) : draw.one(VALUES);
  Object.defineProperty(entry, key, { value, enumerable: true, configurable: true, writable: true });
};

/** A shape of as many numbers, a type of half the width, a place in the file a little aside. */
const reshaped: Edit = (entries, draw) => {
  const [, entry] = draw.one(entries.filter(([name]) => name !== '"__metadata__"'));
  const { shape = "[]", data_offsets: offsets = "[0,0]" } = entry;
  const change = draw.below(4);
  if (change === 0) entry.shape = JSON.stringify((JSON.parse(shape) as number[]).reverse());
  if (change === 1) entry.shape = shape.replace("[", "[1,");
  if (change === 2) entry.shape = shape.replace(/\d+/, String(draw.one([0, 1, 3, 2 ** 31, 2 ** 52])));
  if (change === 3)
    entry.data_offsets = offsets.replace(/\d+/g, (place) => String(Number(place) + draw.below(9)));
};

const repeated: Edit = (entries, draw) => {
  const [name, entry] = draw.one(entries);
  entries.splice(draw.below(entries.length), 0, [name, { ...entry }]);
};

const without: Edit = (entries, draw) => {
  entries.splice(draw.below(entries.length), 1);
};

const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3e38, -0, 1e-40];

/** A number of the data becomes one that training never makes. */
function withValue(file: Uint8Array, draw: Draw): Uint8Array {
  const result = file.slice();
  new DataView(result.buffer).setFloat32(file.length - 4 - 4 * draw.below(8), draw.one(SPECIAL), true);
  return result;
}

/** A key of the config gets any value; is left out, stands twice, or is misspelt. */
function editConfig(file: Uint8Array, draw: Draw): Uint8Array {
  const config = JSON.parse(decoder.decode(file)) as Record<string, unknown>;
  const entries = Object.entries(config).map(([key, value]): [string, string] => [
    key,
    JSON.stringify(value),
  ]);
  for (let change = draw.below(2); change >= 0; change--) {
    const key = draw.one(LORA_KEYS);
    const at = entries.findIndex(([other]) => other === key);
    const kind = draw.below(8);
    if (kind === 0 && at >= 0) entries.splice(at, 1);
    else if (kind === 1)
      entries.push([draw.one(["__proto__", "constructor", "from_the_future", ""]), draw.one(VALUES)]);
    else if (kind === 2 || at < 0) entries.push([key, draw.one(VALUES)]);
    else entries[at]![1] = draw.one(VALUES);
  }
  return encoder.encode(`{${entries.map(([key, json]) => `${JSON.stringify(key)}:${json}`)}}`);
}

type FileEdit = (bytes: Uint8Array, draw: Draw) => Uint8Array;

const WEIGHTS_EDITS: readonly FileEdit[] = [
  flipped,
  (bytes, draw) => flipped(bytes, draw, 8 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)),
  truncated,
  (bytes, draw) => withLength(bytes, 0, draw),
  edited,
  editHeader,
  editHeader,
  editHeader,
  withValue,
];
const CONFIG_EDITS: readonly FileEdit[] = [flipped, truncated, edited, editConfig, editConfig, editConfig];

/** An adapter folder with one of its files spoilt, exchanged for another adapter's, or gone. */
export function mutatedFolder(files: Files, others: readonly Files[], draw: Draw): Map<string, Uint8Array> {
  const result = new Map(files);
  const name = draw.one([CONFIG, WEIGHTS]);
  const kind = draw.below(40);
  if (kind === 0) result.delete(name);
  else if (kind === 1) result.set(name, draw.one(others).get(name)!);
  else result.set(name, draw.one(name === CONFIG ? CONFIG_EDITS : WEIGHTS_EDITS)(result.get(name)!, draw));
  return result;
}

/** Where the 64-bit lengths and counts of a GGUF adapter's header stand. */
function lengthsIn(file: Uint8Array): number[] {
  const view = new DataView(file.buffer, file.byteOffset);
  const places = [8, 16];
  const words = (at: number) => Number(view.getBigUint64(at, true));
  let at = 24;
  const text = () => {
    places.push(at);
    at += 8 + words(at);
  };
  for (let key = words(16); key > 0; key--) {
    text();
    const type = GGUF_TYPES[view.getUint32(at, true)];
    at += 4;
    if (type === "string") text();
    else at += 4;
  }
  for (let tensor = words(8); tensor > 0; tensor--) {
    text();
    const rank = view.getUint32(at, true);
    for (let i = 0; i < rank; i++) places.push(at + 4 + 8 * i);
    places.push(at + 8 + 8 * rank);
    at += 16 + 8 * rank;
  }
  return places;
}

/** Bytes of the header, in place of as many others: a name for a name, a type for a type. */
function exchanged(file: Uint8Array, draw: Draw): Uint8Array {
  const text = Buffer.from(file).toString("latin1");
  const [found, wanted] = draw.one([
    ["lora_a", "lora_b"],
    ["lora_b", "lora_x"],
    ["attn_q", "attn_v"],
    ["attn_k", "attn_z"],
    ["blk.0.", "blk.1."],
    ["blk.1.", "blk.9."],
    ["token_embd", "token_embx"],
    ["adapter", "adaptor"],
    ["lora.alpha", "lora.alpho"],
    ["general.type", "general.file"],
    ["llama", "qwen3"],
    ["\x06\0\0\0", `${String.fromCharCode(draw.below(14))}\0\0\0`],
    ["\x02\0\0\0", `${String.fromCharCode(draw.below(6))}\0\0\0`],
    ["\0\0\0\0", `${String.fromCharCode(draw.one(Object.values(GGML_TYPES)).id)}\0\0\0`],
  ] as const);
  const places = [...text.matchAll(new RegExp(found, "g"))].map(({ index }) => index);
  if (places.length === 0) return flipped(file, draw);
  const at = draw.one(places);
  return new Uint8Array(Buffer.from(text.slice(0, at) + wanted + text.slice(at + found.length), "latin1"));
}

function withAlpha(file: Uint8Array, draw: Draw): Uint8Array {
  const result = file.slice();
  const key = "adapter.lora.alpha";
  const at = Buffer.from(file).indexOf(key) + key.length + 4;
  new DataView(result.buffer).setFloat32(at, draw.one([...SPECIAL, 0, -1, 1e-45]), true);
  return result;
}

const GGUF_EDITS: readonly FileEdit[] = [
  flipped,
  (bytes, draw) => flipped(bytes, draw, Math.max(...lengthsIn(bytes))),
  truncated,
  (bytes, draw) => withLength(bytes, draw.one(lengthsIn(bytes)), draw),
  (bytes, draw) => withLength(bytes, draw.one(lengthsIn(bytes)), draw),
  edited,
  exchanged,
  exchanged,
  withValue,
  withAlpha,
];

/** Where signatures, flags, methods, sizes, lengths of names and places stand in a zip archive, beside its content. */
function fieldsIn(file: Uint8Array): number[] {
  const bytes = Buffer.from(file);
  const places: number[] = [];
  for (const signature of ["PK\x01\x02", "PK\x03\x04", "PK\x05\x06"]) {
    for (let at = bytes.indexOf(signature); at >= 0; at = bytes.indexOf(signature, at + 1))
      for (let field = at; field < Math.min(at + 46, file.length); field++) places.push(field);
  }
  return places;
}

const ZIP_EDITS: readonly FileEdit[] = [
  flipped,
  truncated,
  edited,
  (bytes, draw) =>
    bytes.with(draw.one(fieldsIn(bytes)), draw.one([0, 1, 8, 14, 0x7f, 0xff, draw.below(256)])),
  (bytes, draw) => bytes.with(draw.one(fieldsIn(bytes)), draw.below(256)),
  (bytes, draw) => bytes.with(draw.one(fieldsIn(bytes)), draw.below(256)),
];

/** An adapter folder in a zip archive, the folder or the archive spoilt. */
export function mutatedZip(files: Files, others: readonly Files[], draw: Draw): Uint8Array {
  const folder = draw.below(4) === 0 ? mutatedFolder(files, others, draw) : files;
  const path = draw.one(["", "", "mine/", "../", "/", "a/b/c/"]);
  const named = [...folder].map(([name, bytes]) => [`${path}${name}`, bytes]);
  const level = draw.one([0, 6] as const);
  const file = zipSync(Object.fromEntries(named) as Record<string, Uint8Array>, { level });
  return folder === files ? draw.one(ZIP_EDITS)(file, draw) : file;
}

export function mutatedGguf(file: Uint8Array, draw: Draw): Uint8Array {
  return draw.one(GGUF_EDITS)(file, draw);
}
