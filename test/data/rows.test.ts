import { describe, expect, it } from "vitest";
import { DataError } from "../../src/base/errors.ts";
import { parseRows } from "./parseRows.ts";
import { sourceOf as madeSource } from "./sources.ts";

const sourceOf = (content: string | Uint8Array) => madeSource("rows.jsonl", content);
const parse = (content: string | Uint8Array) => parseRows(sourceOf(content), { format: "jsonl" });
const texts = async (content: string | Uint8Array) =>
  (await parse(content)).rows.map((row) => ("text" in row ? row.text : row));

describe("rows", () => {
  it("are read line by line, blank lines skipped and counted", async () => {
    const { rows } = await parse('{"text":"a"}\n\n  \r\n{"text":"b","id":3}\r\n{"text":""}');
    expect(rows).toEqual([
      { text: "a", line: 1 },
      { text: "b", line: 4 },
      { text: "", line: 5 },
    ]);
  });

  it("lose a byte-order mark", async () => {
    expect(await texts('\ufeff{"text":"a"}\n')).toEqual(["a"]);
  });

  it("keep what only looks like the end of a line", async () => {
    expect(await texts('{"text":"a\u2028b\\nc"}')).toEqual(["a\u2028b\nc"]);
  });

  it("are conversations where they have messages", async () => {
    const messages = [
      { role: "user", content: "Hi \ud800", name: "Ada" },
      { role: "assistant", content: "Hello." },
    ];
    const { rows, replacedSurrogates } = await parse(JSON.stringify({ messages }));
    const [user, assistant] = [{ role: "user", content: "Hi \ufffd", name: "Ada" }, messages[1]!];
    expect(rows).toEqual([{ messages: [user, assistant], line: 1 }]);
    expect(replacedSurrogates).toBe(1);
  });

  it("get U+FFFD for lone surrogates, which are counted; whole pairs stay", async () => {
    const { rows, replacedSurrogates } = await parse('{"text":"\\ud800x\\udc00"}\n{"text":"\\ud83d\\ude00"}');
    expect(rows).toMatchObject([{ text: "\ufffdx\ufffd" }, { text: "\u{1f600}" }]);
    expect(replacedSurrogates).toBe(2);
  });

  it("get U+FFFD for surrogates written as bytes, too", async () => {
    const line = new TextEncoder().encode('{"text":"a..."}');
    line.set([0xed, 0xa0, 0x80], line.indexOf(0x2e));
    const { rows, replacedSurrogates } = await parse(line);
    expect(rows).toMatchObject([{ text: "a\ufffd" }]);
    expect(replacedSurrogates).toBe(1);
  });

  it("may be longer together than a chunk of the file, and cross its border", async () => {
    const text = "é".repeat(1_500_001);
    const line = JSON.stringify({ text });
    expect(await texts(`${line}\n${line}\n${line}`)).toEqual([text, text, text]);
  });

  it("do not change the prototype of anything", async () => {
    expect(await texts('{"text":"a","__proto__":{"polluted":1}}')).toEqual(["a"]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it("may be 8 MB long", async () => {
    const line = JSON.stringify({ text: "x".repeat(8_000_000 - 11) });
    expect(line.length).toBe(8_000_000);
    expect((await texts(line))[0]).toHaveLength(8_000_000 - 11);
    expect((await texts(`${line}\n`))[0]).toHaveLength(8_000_000 - 11);
  });
});

const good = '{"text":"a"}\n';
describe("a data set is refused with", () => {
  it.each<[string, string | Uint8Array, string, RegExp]>([
    ["nothing in it", "", "rows-empty", /rows\.jsonl has no row/],
    ["blank lines only", "\n \n\n", "rows-empty", /has no row/],
    ["a byte-order mark only", "\ufeff", "rows-empty", /has no row/],
    ["a line that is not JSON", `${good}\n{"text":`, "row-json", /line 3 is not JSON: .*one object, such as/],
    ["a line that is a list", `${good}["a"]`, "row-shape", /line 2 is \["a"\], not an object/],
    ["a line that is a string", `${good}"a"`, "row-shape", /line 2 is "a", not an object/],
    ["a line that is null", "null", "row-shape", /line 1 is null, not an object/],
    ["text that is a number", `${good}{"text":5}`, "row-text", /line 2 has "text": 5, expected a string/],
    [
      "an empty conversation",
      '{"conversations":[]}',
      "row-messages",
      /"conversations": \[\], expected a list/,
    ],
    ["messages that are none", '{"messages":[]}', "row-messages", /"messages": \[\], expected a list/],
    ["messages that are a text", '{"messages":"hi"}', "row-messages", /"messages": "hi", expected a list/],
    ["a message without content", '{"messages":[{"role":"user"}]}', "row-messages", /line 1, message 1 is/],
    [
      "a conversation in which nobody answers",
      '{"messages":[{"role":"user","content":"hi"}]}',
      "row-messages",
      /no message of the assistant/,
    ],
    ["preferences", '{"chosen":"a","rejected":"b"}', "row-shape", /preference pairs, which are not trained/],
    [
      "other keys",
      '{"body":"a"}',
      "row-shape",
      /the keys "body"\. .*"column_mapping": \{"text":"\{body\}"\}/,
    ],
    ["no keys", "{}", "row-shape", /no key at all/],
    [
      "a line over 8 MB",
      `${good}${JSON.stringify({ text: "x".repeat(8_000_000 - 10) })}\n`,
      "line-too-long",
      /line 2 is longer than 8 MB/,
    ],
    ["an endless line", `{"text":"${"x".repeat(20_000_000)}`, "line-too-long", /line 1 is longer/],
    ["Latin-1", Uint8Array.of(0x7b, 0x22, 0xe9, 0x22, 0x7d), "not-utf8", /line 1 is not UTF-8/],
    ["UTF-16", Uint8Array.of(0xff, 0xfe, 0x7b, 0), "not-utf8", /UTF-16/],
  ])("%s", async (_, content, code, says) => {
    const thrown = await parse(content).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(DataError);
    expect((thrown as DataError).code).toBe(code);
    expect((thrown as DataError).message).toMatch(says);
  });
});
