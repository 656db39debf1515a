import { expect, it } from "vitest";
import type { Row } from "../../src/data/rows.ts";
import { encodeRows } from "../../src/data/tokenize.ts";
import type { TextTokenizer } from "../../src/data/tokenizer.ts";
import { EncodedCache } from "../../src/worker/encodedCache.ts";
import { inlineTemplate } from "../data/inline.ts";

const asked: string[] = [];
/** A letter is a token. */
const tokenizer = {
  encode(text: string) {
    asked.push(text);
    return [...text].map((letter) => letter.charCodeAt(0));
  },
  bosToken: undefined,
  eosToken: undefined,
  specialTokens: {},
} as unknown as TextTokenizer;
const template = inlineTemplate("", tokenizer);
const options = { eosToken: undefined, vocabSize: 300, template };
const reader = { tokenizer, stopIds: new Set<number>(), options };
const rows: Row[] = ["ab", "c", "def"].map((text, i) => ({ text, line: i + 1 }));

it("tokenises a row once, for as long as the model and what is learnt are the same", async () => {
  const cache = new EncodedCache();
  const encode = (some: readonly Row[], model = "m", learning = {}) => {
    asked.length = 0;
    return cache.encode(some, { ...reader, options: { ...options, ...learning } }, model, {});
  };
  const whole = await encodeRows(rows, tokenizer, options);
  expect(await encode(rows)).toEqual(whole);
  expect(asked).toEqual(["ab", "c", "def"]);
  expect(await encode(rows)).toEqual(whole);
  expect(asked).toEqual([]);
  const changed = [rows[2]!, { text: "new", line: 2 }, rows[0]!];
  const { lengths } = await encode(changed);
  expect(asked).toEqual(["new"]);
  expect([...lengths.length]).toEqual([3, 3, 2]);
  await encode(rows, "other");
  expect(asked).toHaveLength(3);
  await encode(rows, "other", { completion_only_loss: false });
  expect(asked).toHaveLength(3);
});

it("keeps what it has when it is stopped", async () => {
  const cache = new EncodedCache();
  const many: Row[] = Array.from({ length: 5000 }, (_, i) => ({ text: `row ${i}`, line: i + 1 }));
  const stop = new AbortController();
  const slow = {
    ...reader,
    tokenizer: {
      ...tokenizer,
      encode(text: string) {
        if (text === "row 4500") stop.abort(new Error("stopped"));
        const until = performance.now() + (text.startsWith("row 45") ? 1 : 0);
        while (performance.now() < until);
        return [1, 2];
      },
    },
  };
  await expect(cache.encode(many, slow, "m", { signal: stop.signal })).rejects.toThrow("stopped");
  let total = 0;
  await cache.encode(many, slow, "m", {
    onProgress: (_, all) => {
      total = all;
    },
  });
  expect(total).toBe(5000 - 4096);
});
