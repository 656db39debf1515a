import { describe, expect, it } from "vitest";
import { countRows, firstRows, promptsFrom, rowsFile, splitRows, withOwnRows } from "../../src/ui/rows.ts";

const linesOf = async (file: File) => (await file.text()).split("\n").filter((line) => line !== "");

describe("written text", () => {
  it("becomes a row for each line that is not blank, or one row", async () => {
    const text = '  First "line".\n\n   \r\nSecond\tline.\n';
    expect(await linesOf(rowsFile(text, "lines"))).toEqual([
      '{"text":"First \\"line\\"."}',
      '{"text":"Second\\tline."}',
    ]);
    const [whole, ...more] = await linesOf(rowsFile(text, "whole"));
    expect(more).toEqual([]);
    expect(JSON.parse(whole!)).toEqual({ text: text.trim() });
    expect(countRows(text, "lines")).toBe(2);
    expect(countRows(" \n ", "whole")).toBe(0);
  });

  it("stays as it is where it is JSON Lines already", async () => {
    const text = '\n{"text": "a"}\n{"messages": []}\n';
    expect(await linesOf(rowsFile(text, "whole"))).toEqual(['{"text": "a"}', '{"messages": []}']);
  });

  it("gives every tenth row to be held out, and none where there are fewer", async () => {
    const text = Array.from({ length: 25 }, (_, i) => `row ${i + 1}`).join("\n");
    const { train, heldOut } = splitRows(text, "lines");
    expect(await linesOf(heldOut!)).toEqual(['{"text":"row 10"}', '{"text":"row 20"}']);
    expect(await linesOf(train)).toHaveLength(23);
    expect(splitRows("one\ntwo", "lines").heldOut).toBeUndefined();
  });
});

describe("rows of one's own", () => {
  it("stand behind those of the file, where both halves were written", async () => {
    const file = new File(['{"messages": [1]}'], "a.jsonl");
    const own = [
      { question: " Who? ", answer: " I. " },
      { question: "Half", answer: " " },
    ];
    const [first, second, ...more] = await linesOf(withOwnRows(file, own));
    expect(first).toBe('{"messages": [1]}');
    expect(JSON.parse(second!)).toEqual({
      messages: [
        { role: "user", content: "Who?" },
        { role: "assistant", content: "I." },
      ],
    });
    expect(more).toEqual([]);
    expect(withOwnRows(file, [own[1]!])).toBe(file);
  });
});

describe("the preview", () => {
  it("shows texts and conversations, leaves out what is neither, and offers prompts", async () => {
    const lines = [
      '{"text": "one two three four five six"}',
      "no row",
      '{"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]}',
      '{"text": "second"}',
    ];
    const shown = await firstRows(new Blob([lines.join("\n")]), 2);
    expect(shown).toEqual([{ text: "one two three four five six" }, { question: "Who?", text: "I." }]);
    expect(promptsFrom(shown)).toEqual(["one two three four five", "Who?"]);
  });

  it("reads no line that was cut", async () => {
    const long = `{"text": "${"a".repeat(100_000)}"}`;
    expect(await firstRows(new Blob(['{"text": "b"}\n', long]), 5)).toEqual([{ text: "b" }]);
  });
});
