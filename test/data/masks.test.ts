import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { costOfCut, keptPart } from "../../src/data/cuts.ts";
import { learntTokens, markedTokens, sharedLength } from "../../src/data/masks.ts";
import { pieceEnds, spellingOf } from "../../src/data/pieces.ts";
import { buildTokenizer } from "../../src/data/tokenizer.ts";

const { cases } = JSON.parse(readFileSync(new URL("fixtures/tokenizers.json", import.meta.url), "utf8")) as {
  cases: { name: string; tokenizer: JsonObject; config: JsonObject }[];
};
const built = (name: string, change: (json: JsonObject) => JsonObject = (json) => json) => {
  const { tokenizer, config } = cases.find((entry) => entry.name === name)!;
  return buildTokenizer(change(tokenizer), config);
};
const TEXTS = [
  "the tree grows",
  "树 🌳 é\n\n x",
  "<|endoftext|>a<|endoftext|>",
  "",
  "  two  spaces ",
  "a\tb\r\n",
];
const bytes = (text: string): number => new TextEncoder().encode(text).length;

describe.each(["byte level", "sentence piece"])("places of tokens, %s", (name) => {
  const tokenizer = built(name);

  it.each(TEXTS)("%j: each token ends where its text does", (text) => {
    const { ids, ends } = tokenizer.locateRendered(text);
    expect(ids).toEqual(tokenizer.encodeRendered(text));
    expect(ends).toBeDefined();
    expect(ends!.at(-1) ?? 0).toBe(bytes(text));
    expect([...ends!]).toEqual([...ends!].sort((a, b) => a - b));
  });

  it("agree with the tokens of the text up to them, where nothing merges", () => {
    const text = "the tree <|endoftext|>grows";
    const { ids, ends } = tokenizer.locateRendered(text);
    const before = tokenizer.encodeRendered("the tree <|endoftext|>").length;
    expect(ends![before - 1]).toBe(bytes("the tree <|endoftext|>"));
    expect(ids.length).toBeGreaterThan(before);
  });
});

describe("places of tokens", () => {
  it("are not told where a normalizer changes the text", () => {
    const lower = built("byte level", (json) => ({ ...json, normalizer: { type: "Lowercase" } }));
    expect(lower.locateRendered("the Tree").ends).toBeUndefined();
    expect(lower.locateRendered("the tree").ends).toBeDefined();
    expect(spellingOf({ decoder: { type: "WordPiece" } })).toBeUndefined();
  });

  it("skip the white space that an added token swallows", () => {
    const isAdded = (token: string) => token === "<end>";
    expect([...pieceEnds("a  <end>  b", ["a", "<end>", "b"], "words", isAdded)!]).toEqual([1, 8, 11]);
    expect([...pieceEnds("a <end> ", ["a", "<end>"], "words", isAdded)!]).toEqual([1, 7]);
  });

  it("are given up where the tokens spell something else", () => {
    expect(pieceEnds("abc", ["▁ab", "<unk>"], "words", () => false)).toBeUndefined();
    expect(pieceEnds("abc", ["▁ab"], "words", () => false)).toBeUndefined();
    expect([...pieceEnds("a\n", ["▁a", "<0x0A>"], "words", () => false)!]).toEqual([1, 2]);
  });
});

describe("learnt tokens", () => {
  const tokenizer = built("byte level");
  const text = "the tree grows 🌳 here";
  const encoded = tokenizer.locateRendered(text);
  const start = text.indexOf("ee");
  const end = text.indexOf("🌳") + 2;

  it("are those that hold something of a part, also where one reaches over its border", () => {
    const trained = learntTokens(text, encoded, [start, end], tokenizer);
    const first = trained.indexOf(1);
    const last = trained.lastIndexOf(1);
    const ends = encoded.ends!;
    expect(ends[first]).toBeGreaterThan(bytes(text.slice(0, start)));
    expect(first === 0 ? 0 : ends[first - 1]).toBeLessThanOrEqual(bytes(text.slice(0, start)));
    expect(ends[last]).toBeGreaterThanOrEqual(bytes(text.slice(0, end)));
    expect(ends[last - 1]).toBeLessThan(bytes(text.slice(0, end)));
    expect(trained.slice(first, last + 1).every((bit) => bit === 1)).toBe(true);
  });

  it("are found by the ids where places are not known", () => {
    const blind = { ids: encoded.ids, ends: undefined };
    for (const part of [
      [0, 4],
      [4, 9],
      [start, end],
      [9, text.length],
    ]) {
      const seen = learntTokens(text, encoded, part, tokenizer);
      const guessed = learntTokens(text, blind, part, tokenizer);
      expect(guessed.lastIndexOf(1)).toBe(seen.lastIndexOf(1));
      expect(guessed.indexOf(1)).toBeLessThanOrEqual(seen.indexOf(1));
    }
  });

  it("of a generation block end with the first token of its last character, as Transformers has it", () => {
    const [learnt, marked] = [learntTokens, markedTokens].map((choose) =>
      choose(text, encoded, [4, end], tokenizer),
    );
    const pieces = tokenizer.encodeRendered("🌳").length;
    expect(pieces).toBeGreaterThan(1);
    expect(marked!.lastIndexOf(1)).toBeLessThan(learnt!.lastIndexOf(1));
    expect(marked!.indexOf(1)).toBe(learnt!.indexOf(1));
  });

  it("are none for an empty part", () => {
    expect(learntTokens(text, encoded, [4, 4], tokenizer).includes(1)).toBe(false);
  });
});

it("says how much two lists share", () => {
  expect(sharedLength([1, 2, 3], [1, 2, 4])).toBe(2);
  expect(sharedLength([], [1])).toBe(0);
  expect(sharedLength([1, 2], [1, 2, 3])).toBe(2);
});

describe("a cut", () => {
  // Lengths 10, 10, 4 and 10: learnt 6 to 9, 2 to 4, all, nothing.
  const rows = {
    length: Uint32Array.of(10, 10, 4, 10),
    firstLearnt: Uint32Array.of(6, 2, 1, 0),
    endLearnt: Uint32Array.of(9, 4, 4, 0),
  };

  it.each([
    [10, { cut: 0, losePart: 0, loseAll: 0 }, { cut: 0, losePart: 0, loseAll: 0 }],
    [9, { cut: 3, losePart: 0, loseAll: 0 }, { cut: 3, losePart: 0, loseAll: 0 }],
    [8, { cut: 3, losePart: 1, loseAll: 0 }, { cut: 3, losePart: 1, loseAll: 0 }],
    [7, { cut: 3, losePart: 1, loseAll: 0 }, { cut: 3, losePart: 0, loseAll: 1 }],
    [6, { cut: 3, losePart: 0, loseAll: 1 }, { cut: 3, losePart: 0, loseAll: 1 }],
    [2, { cut: 4, losePart: 1, loseAll: 2 }, { cut: 4, losePart: 1, loseAll: 2 }],
  ])("at %i costs what it takes away", (maxLength, atStart, atEnd) => {
    expect(costOfCut(rows, maxLength, "keep_start")).toEqual(atStart);
    expect(costOfCut(rows, maxLength, "keep_end")).toEqual(atEnd);
  });

  it("costs what the rows say that are cut by it", () => {
    // The same from masks: every learnt token that stays, but the first token, counts.
    const masks = [0, 1, 2, 3].map((row) => {
      const mask = new Uint8Array(rows.length[row]!);
      return mask.fill(1, rows.firstLearnt[row]!, rows.endLearnt[row]!);
    });
    const count = (mask: Uint8Array): number => mask.slice(1).reduce((sum, bit) => sum + bit, 0);
    for (const mode of ["keep_start", "keep_end"] as const) {
      for (let maxLength = 1; maxLength <= 11; maxLength++) {
        const expected = { cut: 0, losePart: 0, loseAll: 0 };
        for (const mask of masks) {
          if (mask.length <= maxLength) continue;
          expected.cut++;
          const [before, after] = [count(mask), count(keptPart(mask, maxLength, mode))];
          if (before > 0 && after === 0) expected.loseAll++;
          else if (after < before) expected.losePart++;
        }
        expect(costOfCut(rows, maxLength, mode), `${mode} ${maxLength}`).toEqual(expected);
      }
    }
  });

  it("keeps one end or the other", () => {
    const row = Uint32Array.of(1, 2, 3, 4);
    expect([...keptPart(row, 3, "keep_start")]).toEqual([1, 2, 3]);
    expect([...keptPart(row, 3, "keep_end")]).toEqual([2, 3, 4]);
    expect([...keptPart(row, 9, "keep_end")]).toEqual([1, 2, 3, 4]);
  });
});
