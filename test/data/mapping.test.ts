import { describe, expect, it } from "vitest";
import { ConfigError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { guessMapping, parseMapping } from "../../src/data/mapping.ts";
import { parseRows } from "./parseRows.ts";
import { sourceOf } from "./sources.ts";

const mapped = async (given: JsonObject, csv = 'q,a,n\nWhy?,So.,1\n" x\n",,2\n') => {
  const shape = { kind: "mapping", mapping: parseMapping(given) } as const;
  return parseRows(sourceOf("a.csv", csv), { shape, faulty: "skip" });
};

describe("a mapping", () => {
  it("fills columns into templates", async () => {
    expect((await mapped({ text: "{n}: {q} {{{a}}} {{}}" })).rows).toEqual([
      { text: "1: Why? {So.} {}", line: 2 },
      { text: "2:  x\n {} {}", line: 3 },
    ]);
    const { rows, unusedColumns } = await mapped({ prompt: "Q: {q}\nA:", completion: " {a}" });
    expect(rows[0]).toEqual({ prompt: "Q: Why?\nA:", completion: " So.", line: 2 });
    expect(unusedColumns).toEqual(["n"]);
  });

  it("makes conversations, without the space that empty columns leave", async () => {
    const { rows } = await mapped({ assistant: "{a}", user: "{q}\n\n{a}", system: "Be kind." });
    const system = { role: "system", content: "Be kind." };
    expect(rows).toEqual([
      {
        messages: [system, { role: "user", content: "Why?\n\nSo." }, { role: "assistant", content: "So." }],
        line: 2,
      },
      { messages: [system, { role: "user", content: "x" }, { role: "assistant", content: "" }], line: 3 },
    ]);
    const plain = await mapped({ system: "{a}", user: "{q}", assistant: "{n}" }, "q,a,n\nx,,y\n");
    expect(plain.rows[0]).toMatchObject({ messages: [{ role: "user" }, { role: "assistant" }] });
  });

  it("writes numbers and truths, takes null for nothing, and has no place for lists", async () => {
    const rows = [{ a: 1.5, b: true }, { a: null, b: "" }, { a: [1], b: "" }, { b: "" }];
    const source = sourceOf("a.jsonl", rows.map((row) => JSON.stringify(row)).join("\n"));
    const shape = { kind: "mapping", mapping: { text: "{a}-{b}" } } as const;
    const parsed = await parseRows(source, { shape, faulty: "skip" });
    expect(parsed.rows).toEqual([
      { text: "1.5-true", line: 1 },
      { text: "-", line: 2 },
    ]);
    expect(parsed.faults.map(({ message }) => message)).toEqual([
      'a.jsonl, line 3 has "a": [1], expected a text or a number.',
      'a.jsonl, line 4 has no "a".',
    ]);
  });

  it("names the columns that there are where one is unknown", async () => {
    await expect(mapped({ text: "{Q}" })).rejects.toThrow(
      'column_mapping.text names the column "Q", which a.csv does not have. Its columns are "q", "a", "n". Is "q" meant?',
    );
  });

  it.each<[JsonObject, RegExp]>([
    [{}, /no part, expected/],
    [{ prompt: "{q}" }, /the parts "prompt", expected/],
    [{ text: "{q}", user: "{q}" }, /the parts "text", "user"/],
    [{ text: 5 }, /column_mapping\.text is 5, expected a text/],
    [{ text: "question" }, /names no column\. Write the column's name in braces, such as "\{question\}"/],
    [{ text: "{q" }, /with a \{ that stands alone.*\{\{ and \}\}/],
    [{ text: "{q} }" }, /with a \} that stands alone/],
    [{ text: "{}" }, /with a \{ that stands alone/],
    [JSON.parse('{"__proto__": "{q}"}'), /the parts "__proto__"/],
  ])("is refused as %j", (given, says) => {
    expect(() => parseMapping(given)).toThrow(ConfigError);
    expect(() => parseMapping(given)).toThrow(says);
  });
});

describe("a guess", () => {
  it.each<[string[], JsonObject | undefined]>([
    [["id", "Question", "Answer"], { user: "{Question}", assistant: "{Answer}" }],
    [["Frage", "Antwort"], { user: "{Frage}", assistant: "{Antwort}" }],
    [["questions", "answers"], { user: "{questions}", assistant: "{answers}" }],
    [["query", "response"], { user: "{query}", assistant: "{response}" }],
    [["input", "output"], { user: "{input}", assistant: "{output}" }],
    [["instruction", "context", "response"], { user: "{context}\n\n{instruction}", assistant: "{response}" }],
    [
      ["system_prompt", "question", "response"],
      { system: "{system_prompt}", user: "{question}", assistant: "{response}" },
    ],
    [["title", "content"], { text: "{content}" }],
    [["poem"], { text: "{poem}" }],
    [["question", "label"], undefined],
    [["a", "b"], undefined],
    [["{a}"], undefined],
    [[], undefined],
  ])("of %j", (columns, mapping) => {
    expect(guessMapping(columns)).toEqual(mapping);
    if (mapping) expect(parseMapping(mapping)).toEqual(mapping);
  });
});
