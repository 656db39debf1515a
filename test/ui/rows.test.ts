import { describe, expect, it } from "vitest";
import { ownRowsFile, promptsFrom } from "../../src/ui/rows.ts";

describe("rows of one's own", () => {
  it("are a file of those of which both halves were written", async () => {
    const own = [
      { question: " Who? ", answer: " I. " },
      { question: "Half", answer: " " },
    ];
    expect(JSON.parse(await ownRowsFile(own)!.text())).toEqual({
      messages: [
        { role: "user", content: "Who?" },
        { role: "assistant", content: "I." },
      ],
    });
    expect(ownRowsFile([own[1]!])).toBeUndefined();
  });
});

it("asks what rows ask, or begins what they say", () => {
  const shown = [{ text: "one two three four five six" }, { question: "Who?", text: "I." }];
  expect(promptsFrom(shown)).toEqual(["one two three four five", "Who?"]);
});
