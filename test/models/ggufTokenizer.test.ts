/** Which tokenizers become GGUF's. That llama.cpp then cuts texts alike: reference/verify_tokenizers.py. */
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { buildTokenizer } from "../../src/data/tokenizer.ts";
import { scoresOfPieces } from "../../src/models/ggufPieces.ts";
import { ggufTokenizer } from "../../src/models/ggufTokenizer.ts";

const WORDS = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const bytes = (useRegex: boolean): JsonObject => ({
  ...{ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: useRegex },
});
const split = (regex: string): JsonObject => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false },
    bytes(false),
  ],
});
const added = (changes: JsonObject = {}): JsonObject => ({
  ...{ id: 0, content: "<end>", special: true, lstrip: false, rstrip: false, single_word: false },
  ...{ normalized: false, ...changes },
});

function written(changes: JsonObject = {}, model: JsonObject = {}, size = 8) {
  const json: JsonObject = {
    added_tokens: [added()],
    normalizer: null,
    pre_tokenizer: bytes(true),
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab: { a: 1, b: 2, ab: 3, Ġ: 4 }, merges: [["a", "b"]], ...model },
    ...changes,
  };
  const tokenizer = buildTokenizer(json, { eos_token: "<end>" });
  const source = { json, tokenizer, template: undefined, size, stopIds: [], bosTokenId: undefined };
  const keys = ggufTokenizer(source);
  const value = (key: string) => keys.get(`tokenizer.ggml.${key}`)?.value as Json | undefined;
  const list = (key: string) => [...(value(key) as unknown as { values: Iterable<unknown> }).values];
  return { value, list };
}

describe("a tokenizer in GGUF", () => {
  it.each<[string, Json, JsonObject, JsonObject]>([
    ["gpt-2", bytes(true), {}, {}],
    [
      "smollm",
      { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, bytes(true)] },
      {},
      {},
    ],
    ["llama-bpe", split(WORDS("\\p{N}{1,3}")), { ignore_merges: true }, {}],
    ["qwen2", split(WORDS("\\p{N}")), {}, { normalizer: { type: "NFC" } }],
  ])("is known by how it cuts texts: %s", (name, pre, model, changes) => {
    const { value } = written({ pre_tokenizer: pre, ...changes }, model);
    expect(value("model")).toBe("gpt2");
    expect(value("pre")).toBe(name);
  });

  it("has its tokens in order with what they are, holes filled, and merges as texts", () => {
    const tool = added({ id: 5, content: "<tool>", special: false });
    const { list, value } = written({ added_tokens: [added(), tool] }, { merges: ["a b"] });
    expect(list("tokens")).toEqual(["<end>", "a", "b", "ab", "Ġ", "<tool>", "[PAD6]", "[PAD7]"]);
    expect(list("token_type")).toEqual([3, 1, 1, 1, 1, 4, 5, 5]);
    expect(list("merges")).toEqual(["a b"]);
    expect([value("eos_token_id"), value("bos_token_id"), value("add_bos_token")]).toEqual([0, 0, false]);
  });

  it("begins texts as the post-processor does", () => {
    const template = {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<end>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      special_tokens: { "<end>": { id: "<end>", ids: [0], tokens: ["<end>"] } },
    };
    const { value } = written({ post_processor: template });
    expect([value("bos_token_id"), value("add_bos_token"), value("add_eos_token")]).toEqual([0, true, false]);
  });

  it.each<[string, JsonObject, JsonObject, RegExp]>([
    ["another model", {}, { type: "WordPiece" }, /model of type "WordPiece"/],
    ["another cut", { pre_tokenizer: split("\\w+") }, {}, /cuts texts by .*which GGUF has no name for/],
    ["a space put first", { pre_tokenizer: { ...bytes(true), add_prefix_space: true } }, {}, /cuts texts by/],
    ["no cut at all", { pre_tokenizer: null }, {}, /cuts texts by null/],
    ["merges that do not count", {}, { ignore_merges: true }, /ignore_merges true .*"gpt-2" has other ones/],
    ["NFC where llama.cpp's has none", { normalizer: { type: "NFC" } }, {}, /"gpt-2" has other ones/],
    ["another normalizer", { normalizer: { type: "Lowercase" } }, {}, /normalises texts by .*Lowercase/],
    ["ends of words", {}, { end_of_word_suffix: "</w>" }, /end_of_word_suffix "<\/w>"/],
    ["greedy tokens", { added_tokens: [added({ lstrip: true })] }, {}, /lstrip for its added token "<end>"/],
    [
      "more tokens than rows",
      { added_tokens: [added(), added({ id: 8, content: "<x>" })] },
      {},
      /"<x>" the id 8/,
    ],
    ["merges with spaces", {}, { merges: ["a b c"] }, /the merge "a b c"/],
  ])("is refused: %s", (_, changes, model, says) => {
    expect(() => written(changes, model)).toThrow(says);
  });
});

describe("SentencePiece's tokens", () => {
  const pieces = (model: JsonObject = {}, changes: JsonObject = {}) =>
    written(
      {
        added_tokens: [added({ content: "<unk>" }), added({ id: 1, content: "<end>" })],
        pre_tokenizer: null,
        decoder: { type: "Fuse" },
        normalizer: {
          type: "Sequence",
          normalizers: [
            { type: "Prepend", prepend: "▁" },
            { type: "Replace", pattern: { String: " " }, content: "▁" },
          ],
        },
        ...changes,
      },
      {
        ...{ byte_fallback: true, unk_token: "<unk>", fuse_unk: true },
        vocab: { "<unk>": 0, "<end>": 1, "<0x41>": 2, a: 3, b: 4, ab: 5, aba: 6, "▁": 7 },
        merges: [
          ["a", "b"],
          ["ab", "a"],
        ],
        ...model,
      },
    );

  it("have the scores of their merges, and types of their own for bytes and what is unknown", () => {
    const { value, list } = pieces();
    expect(value("model")).toBe("llama");
    expect(list("token_type")).toEqual([2, 3, 6, 1, 1, 1, 1, 1]);
    expect(list("scores").slice(5, 7)).toEqual([-0, -1]);
    expect(value("add_space_prefix")).toBe(true);
  });

  it("are refused where merges leave out a cut, or come back to a token: no scores do that", () => {
    expect(() => pieces({ merges: [["a", "b"]] })).toThrow(/no scores of pieces stand for/);
    const tokens = ["a", "b", "c", "ab", "bc", "abc"];
    const cut = (...merges: [string, string][]) => scoresOfPieces(tokens, merges);
    expect(cut(["a", "b"], ["b", "c"], ["a", "bc"], ["ab", "c"])).toBeDefined();
    expect(cut(["a", "b"], ["a", "bc"], ["b", "c"], ["ab", "c"])).toBeUndefined();
    expect(cut(["a", "b"], ["b", "c"], ["a", "bc"])).toBeUndefined();
  });

  it("are refused where only the first text gets a space", () => {
    const first = { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false };
    expect(() => pieces({}, { normalizer: null, pre_tokenizer: first })).toThrow(/Metaspace.*no name for/);
    expect(() => pieces({}, { normalizer: null })).toThrow(/normalises texts by null/);
  });
});
