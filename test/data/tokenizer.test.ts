import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DataError, FormatError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { buildTokenizer, loadTokenizer } from "../../src/data/tokenizer.ts";
import { type TokeniseOptions, tokenizeRows } from "./tokenizeRows.ts";

interface Case {
  name: string;
  tokenizer: JsonObject;
  config: JsonObject;
  ids: number[][];
}
const fixture = JSON.parse(readFileSync(new URL("fixtures/tokenizers.json", import.meta.url), "utf8")) as {
  texts: string[];
  cases: Case[];
};
const EOS = "<|endoftext|>";
const named = (name: string) => fixture.cases.find((entry) => entry.name === name)!;
const bytes = named("byte level");
const byteLevel = buildTokenizer(bytes.tokenizer, bytes.config);

function filesOf(entries: Record<string, unknown>) {
  const texts = new Map(
    Object.entries(entries).map(([name, value]) => [
      name,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  );
  return {
    label: "model",
    names: () => [...texts.keys()],
    open(name: string) {
      const text = texts.get(name);
      if (text === undefined) return undefined;
      const content = new TextEncoder().encode(text);
      return {
        name,
        size: content.length,
        read: async (start: number, end: number) => content.slice(start, end),
      };
    },
  };
}

describe("a tokenizer", () => {
  it.each(fixture.cases)("gives Transformers' ids: $name", ({ tokenizer, config, ids }) => {
    const loaded = buildTokenizer(tokenizer, config);
    expect(loaded.eosToken).toBe(EOS);
    expect(fixture.texts.map((text) => loaded.encode(text))).toEqual(ids);
  });

  it("gives text back", () => {
    expect(byteLevel.decode(byteLevel.encode("naïve café 🙂"))).toBe("naïve café 🙂");
    expect(byteLevel.decode([])).toBe("");
  });

  it("is read from a folder, its end token from whichever file has it", async () => {
    const { eos_token: _, ...config } = bytes.config;
    const special = { eos_token: { content: EOS, lstrip: false } };
    const loaded = await loadTokenizer(
      filesOf({
        "tokenizer.json": bytes.tokenizer,
        "tokenizer_config.json": config,
        "special_tokens_map.json": special,
      }),
    );
    expect(loaded.eosToken).toBe(EOS);
    expect(loaded.encode(`a${EOS}`)).toEqual(byteLevel.encode(`a${EOS}`));
    const bare = await loadTokenizer(filesOf({ "tokenizer.json": bytes.tokenizer }));
    expect(bare.eosToken).toBeUndefined();
  });

  it("keeps an end token whole that tokenizer.json has only as a word", () => {
    const words = { ...bytes.tokenizer, added_tokens: [] };
    const model = bytes.tokenizer.model as JsonObject;
    const id = (model.vocab as Record<string, number>)[EOS];
    expect(id).toBeTypeOf("number");
    expect(buildTokenizer(words, bytes.config).encode(`a${EOS}`).at(-1)).toBe(id);
    expect(buildTokenizer(words, {}).encode(`a${EOS}`).length).toBeGreaterThan(2);
  });

  it("is refused where its files do not fit", async () => {
    const refuse = (files: Record<string, unknown>) =>
      loadTokenizer(filesOf(files)).catch((error: unknown) => error);
    const { tokenizer } = bytes;
    for (const [files, says] of [
      [{}, /no tokenizer\.json/],
      [{ "tokenizer.model": "x" }, /only "tokenizer\.model".*save_pretrained/],
      [{ "tokenizer.json": "{" }, /tokenizer\.json is not JSON/],
      [{ "tokenizer.json": [] }, /does not hold a JSON object/],
      [{ "tokenizer.json": {} }, /cannot be used/],
      [
        { "tokenizer.json": tokenizer, "tokenizer_config.json": { eos_token: "<end>" } },
        /"<end>" as eos_token, but/,
      ],
      [{ "tokenizer.json": tokenizer, "tokenizer_config.json": { eos_token: 5 } }, /5 as a special token/],
    ] as const) {
      const thrown = await refuse(files);
      expect(thrown).toBeInstanceOf(FormatError);
      expect((thrown as FormatError).message).toMatch(says);
    }
  });
});

describe("a row", () => {
  const eos = byteLevel.encode(EOS)[0]!;
  const long = { eosToken: EOS, maxLength: 1000, vocabSize: 300 };
  const idsOf = async (text: string, options: Partial<TokeniseOptions> = {}) => {
    const { rows, cut } = await tokenizeRows([{ text, line: 1 }], byteLevel, { ...long, ...options });
    return { ids: rows[0]!.ids, cut };
  };

  it("ends with the end token, but never with two", async () => {
    const { ids } = await idsOf("the tree");
    expect(ids.at(-1)).toBe(eos);
    expect(ids.filter((id) => id === eos).length).toBe(1);
    expect((await idsOf(`the tree${EOS}`)).ids).toEqual(ids);
  });

  it("gets no end where the tokenizer has none", async () => {
    const { ids } = await idsOf("the tree", { eosToken: undefined });
    expect([...ids]).toEqual(byteLevel.encode("the tree"));
  });

  it("is cut after the end token was put on", async () => {
    const whole = await idsOf("the tree grows");
    expect(whole.cut).toBe(0);
    expect(await idsOf("the tree grows", { maxLength: whole.ids.length })).toEqual(whole);
    const shorter = await idsOf("the tree grows", { maxLength: whole.ids.length - 1 });
    expect(shorter).toEqual({ ids: whole.ids.slice(0, -1), cut: 1 });
  });

  it("without a target is left out and counted", async () => {
    const rows = ["", "the tree", "", "grows"].map((text, i) => ({ text, line: i + 1 }));
    const { rows: kept, leftOut, cut, tokens, targets, faults } = await tokenizeRows(rows, byteLevel, long);
    expect(kept.map((row) => row.line)).toEqual([2, 4]);
    expect({ leftOut, cut }).toEqual({ leftOut: 2, cut: 0 });
    expect(faults.map(({ line, code }) => [line, code])).toEqual([
      [1, "too-short"],
      [3, "too-short"],
    ]);
    expect(tokens).toBe(kept[0]!.ids.length + kept[1]!.ids.length);
    expect(targets).toBe(tokens - 2);
  });

  it("is trained where the tokenizer adds a beginning to an empty text", async () => {
    const { tokenizer, config } = named("a beginning from the post-processor");
    const { rows, leftOut } = await tokenizeRows(
      [{ text: "", line: 1 }],
      buildTokenizer(tokenizer, config),
      long,
    );
    expect(leftOut).toBe(0);
    expect(rows[0]!.ids.length).toBe(2);
  });

  it("must leave something to train on", async () => {
    const rows = [{ text: "", line: 1 }];
    await expect(tokenizeRows(rows, byteLevel, { ...long, maxLength: 1 })).rejects.toThrow(
      /None of the 1 rows has a token to predict with max_length 1/,
    );
  });

  it("with a token that the model lacks is refused by its line", async () => {
    const rows = [{ text: "the tree", line: 7 }];
    const top = Math.max(...byteLevel.encode(`the tree${EOS}`));
    await tokenizeRows(rows, byteLevel, { ...long, vocabSize: top + 1 });
    const refused = tokenizeRows(rows, byteLevel, { ...long, vocabSize: top });
    await expect(refused).rejects.toThrow(DataError);
    await expect(refused).rejects.toThrow(/Row 7 holds token/);
  });
});
