import { describe, expect, it } from "vitest";
import { DataError } from "../../src/base/errors.ts";
import { detectShape, type ShapeOptions } from "../../src/data/shapes.ts";
import { readTables } from "../../src/data/table.ts";
import { parseRows } from "./parseRows.ts";
import { sourceOf } from "./sources.ts";

const jsonl = (rows: readonly unknown[]) =>
  sourceOf("a.jsonl", rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
const parse = (rows: readonly unknown[], options?: ShapeOptions) => parseRows(jsonl(rows), options);
const rowsOf = async (rows: readonly unknown[], options?: ShapeOptions) => (await parse(rows, options)).rows;
const shapeOf = async (rows: readonly unknown[], textColumn?: string) =>
  detectShape((await readTables([jsonl(rows)]))[0]!, textColumn);

const user = { role: "user", content: "Hi" };
const assistant = { role: "assistant", content: "Hello." };

describe("the shape of rows", () => {
  it.each<[unknown, unknown]>([
    [{ text: "a" }, { kind: "text", column: "text" }],
    [{ prompt: "a", completion: "b" }, { kind: "prompt-completion" }],
    [{ messages: [] }, { kind: "messages", column: "messages" }],
    [{ conversations: [] }, { kind: "messages", column: "conversations" }],
    [{ instruction: "a", output: "b" }, { kind: "instruction" }],
    // Where a row could be read in several ways, TRL's order decides.
    [
      { text: "a", messages: [], prompt: "" },
      { kind: "messages", column: "messages" },
    ],
    [{ text: "a", prompt: "", completion: "" }, { kind: "prompt-completion" }],
    [
      { text: "a", instruction: "", output: "" },
      { kind: "text", column: "text" },
    ],
    [{ question: "a", answer: "b" }, undefined],
    [{ prompt: "a", chosen: "b", rejected: "c" }, undefined],
  ])("of %j is %j", async (row, shape) => {
    expect(await shapeOf([row])).toEqual(shape);
  });

  it("is what most rows have", async () => {
    const rows = [{ messages: [user, assistant] }, { text: "a" }, { text: "b" }];
    expect(await shapeOf(rows)).toEqual({ kind: "text", column: "text" });
    expect(await shapeOf([{ body: "a" }, { body: "b" }], "body")).toEqual({ kind: "text", column: "body" });
  });

  it("may be said", async () => {
    const rows = [{ text: "a", prompt: "p", completion: "c", body: "b", turns: [user, assistant] }];
    expect(await rowsOf(rows, { shape: { kind: "text", column: "body" } })).toEqual([{ text: "b", line: 1 }]);
    expect(await rowsOf(rows, { shape: { kind: "messages", column: "turns" } })).toEqual([
      { messages: [user, assistant], line: 1 },
    ]);
  });

  it("is each file's own", async () => {
    const sources = [
      sourceOf("a.txt", "one"),
      sourceOf("b.txt", "two"),
      jsonl([{ messages: [user, assistant] }]),
    ];
    expect((await parseRows(sources)).rows).toEqual([
      { text: "one", line: 1 },
      { text: "two", line: 1 },
      { messages: [user, assistant], line: 1 },
    ]);
  });
});

describe("rows", () => {
  it("are prompts and completions, as texts or as messages", async () => {
    const system = { role: "system", content: "Be kind." };
    expect(
      await rowsOf([
        { prompt: "a", completion: " b", id: 1 },
        { prompt: [system, user], completion: [assistant] },
      ]),
    ).toEqual([
      { prompt: "a", completion: " b", line: 1 },
      { messages: [system, user, assistant], promptTurns: 2, line: 2 },
    ]);
  });

  it("are ShareGPT's conversations in OpenAI's words", async () => {
    const turns = [
      ["system", "s"],
      ["human", "h"],
      ["gpt", "g"],
      ["user", "u"],
      ["tool", "t"],
      ["observation", "o"],
      ["assistant", "a"],
    ];
    const conversations = turns.map(([from, value]) => ({ from, value, weight: 1 }));
    const roles = ["system", "user", "assistant", "user", "tool", "tool", "assistant"];
    expect(await rowsOf([{ conversations, id: "x" }])).toEqual([
      { messages: turns.map(([, content], i) => ({ role: roles[i], content, weight: 1 })), line: 1 },
    ]);
  });

  it("are questions and answers where they come as instructions", async () => {
    const rows = await rowsOf([
      { instruction: "Add.", input: "1 + 1", output: "2" },
      { instruction: "Sing.", input: "", output: "La." },
      { instruction: "Sing.", input: null, output: "La.", system: "You sing." },
    ]);
    expect(rows).toEqual([
      {
        messages: [
          { role: "user", content: "Add.\n\n1 + 1" },
          { role: "assistant", content: "2" },
        ],
        line: 1,
      },
      {
        messages: [
          { role: "user", content: "Sing." },
          { role: "assistant", content: "La." },
        ],
        line: 2,
      },
      {
        messages: [
          { role: "system", content: "You sing." },
          { role: "user", content: "Sing." },
          { role: "assistant", content: "La." },
        ],
        line: 3,
      },
    ]);
  });

  it("keep tools, calls and whatever else a turn has", async () => {
    const call = {
      role: "assistant",
      content: null,
      tool_calls: [{ function: { name: "f", arguments: {} } }],
    };
    const said = {
      role: "assistant",
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    };
    const tools = [{ type: "function", function: { name: "f" } }];
    const expected = [user, { ...call, content: "" }, { role: "assistant", content: "ab" }];
    expect(await rowsOf([{ messages: [user, call, said], tools }])).toEqual([
      { messages: expected, tools, line: 1 },
    ]);
    // A table holds lists as texts.
    const row = { messages: JSON.stringify([user, call, said]), tools: JSON.stringify(tools) };
    expect(await rowsOf([row])).toEqual([{ messages: expected, tools, line: 1 }]);
    expect(await rowsOf([{ ...row, tools: null }])).toEqual([{ messages: expected, line: 1 }]);
  });

  it("say which columns they leave aside", async () => {
    const { unusedColumns } = await parse([
      { text: "a", id: 1 },
      { text: "b", source: "x" },
    ]);
    expect(unusedColumns).toEqual(["id", "source"]);
  });
});

describe("a row is faulty", () => {
  it.each<[string, unknown, string, string]>([
    ["text that is a number", { text: 5 }, "row-text", ' has "text": 5, expected a string.'],
    ["text that is missing", { title: "x" }, "row-shape", ' has the keys "title" and no "text".'],
  ])("with %s", async (_, row, code, says) => {
    const { rows, faults, faultCount } = await parse([{ text: "a" }, row, { text: "b" }], { faulty: "skip" });
    expect(rows.map(({ line }) => line)).toEqual([1, 3]);
    expect(faultCount).toBe(1);
    expect(faults).toMatchObject([{ line: 2, code, message: `a.jsonl, line 2${says}` }]);
  });

  const bad = (...messages: unknown[]) => ({ messages });
  it.each<[string, unknown, string, RegExp]>([
    [
      "an unknown role",
      bad(user, { role: "narrator", content: "x" }),
      "row-role",
      /message 2 has the role "narrator"/,
    ],
    [
      "an unknown speaker",
      bad({ from: "alien", value: "x" }),
      "row-role",
      /role "alien", expected one of system,/,
    ],
    ["__proto__ as its speaker", bad({ from: "__proto__", value: "x" }), "row-role", /"__proto__"/],
    ["no role", bad({ content: "x" }), "row-messages", /message 1 is/],
    ["no content", bad(user, { role: "assistant" }), "row-messages", /message 2 is/],
    [
      "content that is a picture",
      bad({ role: "user", content: [{ type: "image" }] }),
      "row-messages",
      /message 1 is/,
    ],
    ["a message that is none", bad("Hi"), "row-messages", /message 1 is "Hi"/],
    ["nobody who answers", bad(user), "row-messages", /no message of the assistant/],
    [
      "messages that are a text",
      { messages: "[broken" },
      "row-messages",
      /"messages": "\[broken", expected a list/,
    ],
    [
      "messages nested without end",
      { messages: "[".repeat(9999) + "]".repeat(9999) },
      "row-depth",
      /deeper than/,
    ],
    ["tools that are none", { messages: [user, assistant], tools: 5 }, "row-tools", /"tools": 5, expected/],
  ])("with %s", async (_, row, code, says) => {
    const good = { messages: [user, assistant] };
    const { rows, faults } = await parse([good, row], { faulty: "skip" });
    expect(rows).toHaveLength(1);
    expect(faults).toMatchObject([{ line: 2, code, message: expect.stringMatching(says) }]);
  });

  it.each<[string, unknown, RegExp]>([
    ["a completion that is missing", { prompt: "a" }, /no "completion"/],
    ["a prompt that is a number", { prompt: 1, completion: "a" }, /"prompt": 1/],
    [
      "a completion of another kind",
      { prompt: "a", completion: [assistant] },
      /"completion": \[.*expected a string/,
    ],
    ["a completion that asks", { prompt: [user], completion: [user] }, /no message of the assistant/],
  ])("with %s", async (_, row, says) => {
    const { faults } = await parse([{ prompt: "a", completion: "b" }, row], { faulty: "skip" });
    expect(faults).toMatchObject([{ line: 2, message: expect.stringMatching(says) }]);
  });
});

describe("faulty rows", () => {
  const content = '{"text":"a"}\n{"text":1}\nnot json\n{"text":"b"}\n';
  it("refuse their file unless they are to be left out", async () => {
    const source = sourceOf("a.jsonl", content);
    const refused = await parseRows(source).catch((error) => error);
    expect(refused).toBeInstanceOf(DataError);
    expect(refused).toMatchObject({
      code: "row-text",
      message: expect.stringMatching(/line 2 has "text": 1.* 1 more row is faulty/),
    });
    const { rows, faults, faultCount } = await parseRows(source, { faulty: "skip" });
    expect(rows).toEqual([
      { text: "a", line: 1 },
      { text: "b", line: 4 },
    ]);
    expect(faults.map(({ line, code }) => [line, code])).toEqual([
      [2, "row-text"],
      [3, "row-json"],
    ]);
    expect(faultCount).toBe(2);
  });

  it("refuse a file that has no other, and name the first", async () => {
    for (const rows of ["1\n2\n3\n", '{"text":1}\n{"text":2}\n{}\n']) {
      const reading = parseRows(sourceOf("a.jsonl", rows), { faulty: "skip" });
      await expect(reading).rejects.toThrow(/a\.jsonl, line 1 .* 2 more rows are faulty/);
    }
  });

  it("are counted over all files", async () => {
    const sources = [sourceOf("a.jsonl", content), sourceOf("b.csv", "text\nc\nd,e\n")];
    const { rows, faults, faultCount } = await parseRows(sources, { faulty: "skip" });
    expect(rows).toHaveLength(3);
    expect(faultCount).toBe(3);
    expect(faults.at(-1)!.message).toBe("b.csv, line 3 has 2 fields, the header has 1.");
  });
});

describe("a table of no known shape", () => {
  it("is refused with what it probably is", async () => {
    await expect(parse([{ question: "a", answer: "b" }])).rejects.toThrow(
      'a.jsonl has the keys "question", "answer". A row is {text}, {prompt, completion}, {messages}, {conversations} ' +
        'or {instruction, input, output}. Probably meant: "column_mapping": ' +
        '{"user":"{question}","assistant":"{answer}"}.',
    );
    await expect(parse([{ x: "a", y: "b" }])).rejects.toThrow(/Say what they are: "column_mapping"/);
  });
});
