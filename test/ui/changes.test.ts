import { describe, expect, it } from "vitest";
import { changesIn } from "../../src/ui/changes.ts";

/** New pieces in brackets. */
const shown = (text: string, before: string): string =>
  changesIn(text, before)
    .map((piece) => (piece.isNew ? `[${piece.text}]` : piece.text))
    .join("");

describe("the words of an answer that the answer before did not have", () => {
  it.each([
    ["the old man", "the old man", "the old man"],
    ["the young man", "the old man", "the [young] man"],
    ["an old man and a dog", "old man", "[an ]old man[ and a dog]"],
    ["man old", "old man", "[man ]old"],
    ["", "the", ""],
    ["the", "", "[the]"],
    // There are no blanks between these words.
    ["东京是日本的首都", "北京是日本的首都", "[东京]是日本的首都"],
  ])("%j after %j", (text, before, wanted) => {
    const found = shown(text, before);
    expect(found.replaceAll(/[[\]]/g, "")).toBe(text);
    expect(found).toBe(wanted);
  });

  it("are all of them where the texts are too long to compare", () => {
    const long = "word ".repeat(2000);
    expect(changesIn(long, long)).toEqual([{ text: long, isNew: true }]);
  });
});
