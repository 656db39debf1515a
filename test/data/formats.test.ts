import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DataError } from "../../src/base/errors.ts";
import { detectFormat } from "../../src/data/formats/detect.ts";
import { DATA_FORMATS, type DataFormat } from "../../src/data/formats/reading.ts";
import { detectFormats, readTables, type Table } from "../../src/data/table.ts";
import { sourceOf } from "./sources.ts";

const read = async (name: string, content: string | Uint8Array, format?: DataFormat): Promise<Table> =>
  (await readTables([sourceOf(name, content)], { format }))[0]!;
const rowsIn = async (name: string, content: string | Uint8Array, format?: DataFormat) =>
  (await read(name, content, format)).records.map(({ line, values }) => [line, ...Object.values(values)]);
const faultsIn = async (name: string, content: string | Uint8Array, format?: DataFormat) =>
  (await read(name, content, format)).faults.map(({ line, code }) => [line, code]);
const fixture = (name: string) => readFileSync(join(import.meta.dirname, "fixtures", name));
const utf16 = (text: string) =>
  Uint8Array.from([0xff, 0xfe, ...[...text].flatMap((c) => [c.charCodeAt(0), 0])]);

describe("a format is told by name and content", () => {
  it.each<[string, string, DataFormat]>([
    ["a.jsonl", '{"text":"a"}\n', "jsonl"],
    ["A.NDJSON", "", "jsonl"],
    ["a.jsonl", '[{"text":"a"}]', "json"],
    ["a.jsonl", '[\n{"text":"a"}\n]', "json"],
    ["a.jsonl", '["a"]\n{"text":"a"}\n', "jsonl"],
    ["a.json", '[{"text":"a"}]', "json"],
    ["a.json", '{"data": [{"text":"a"}]}', "json"],
    ["a.json", '{"text":"a"}\n{"text":"b"}\n', "jsonl"],
    ["a.json", '{\n  "data": []\n}', "json"],
    ["a.csv", "[a],b\n1,2", "csv"],
    ["a.tsv", "a\tb", "tsv"],
    ["a.parquet", "", "parquet"],
    ["download", "PAR1…", "parquet"],
    ["a.txt", "Once upon a time", "text"],
    ["a.txt", '{"text":"a"}\n{"text":"b"}', "jsonl"],
    ["a.txt", "[sic] said he", "text"],
    ["README", "Once", "text"],
    ["rows", '{"text":"a"}', "jsonl"],
    ["rows", '[{"text":"a"}, ', "json"],
    ["a.json", '\ufeff[{"text":"a"}]', "json"],
  ])("%s with %j is %s", (name, content, format) => {
    expect(detectFormat(name, new TextEncoder().encode(content))).toBe(format);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ["a.xlsx", Uint8Array.of(0x50, 0x4b, 3, 4, 0), /a spreadsheet.*Graft reads JSONL.*CSV UTF-8/],
    ["a.jsonl.gz", Uint8Array.of(0x1f, 0x8b, 8), /packed with gzip.*Unpack it/],
    ["a.txt", utf16("a"), /UTF-16, expected UTF-8/],
    ["a.csv", utf16("a,b").subarray(2), /no text in UTF-8/],
    ["a.bin", Uint8Array.of(1, 0, 2), /no text in UTF-8/],
  ])("%s is refused where it is none", (name, head, says) => {
    expect(() => detectFormat(name, head)).toThrow(says);
  });

  it("takes a text that comes alone by its blank lines, or by line where none is blank, several as a row each", async () => {
    const [a, b] = [sourceOf("a.txt", "one\n \r\ntwo\n"), sourceOf("b.txt", "\none\r\ntwo\n\n")];
    expect(await detectFormats([a])).toEqual(["text-paragraphs"]);
    expect(await detectFormats([b])).toEqual(["text-lines"]);
    expect(await detectFormats([a, b])).toEqual(["text", "text"]);
  });
});

describe("plain text", () => {
  const text = "\ufeffA\r\nB\n\n \n\u2028C\n\n\n";
  it("is read whole, by line or by blank line", async () => {
    expect(await rowsIn("a.txt", text, "text")).toEqual([[1, text.slice(1)]]);
    expect(await rowsIn("a.txt", text, "text-lines")).toEqual([
      [1, "A"],
      [2, "B"],
      [5, "\u2028C"],
    ]);
    expect(await rowsIn("a.txt", text, "text-paragraphs")).toEqual([
      [1, "A\nB"],
      [5, "\u2028C"],
    ]);
  });

  it("has a fault where it is blank, not UTF-8 or too long", async () => {
    expect(await faultsIn("a.txt", " \n", "text")).toEqual([[1, "rows-empty"]]);
    expect(await faultsIn("a.txt", Uint8Array.of(0xe9), "text")).toEqual([[1, "not-utf8"]]);
    expect(await faultsIn("a.txt", Uint8Array.of(0x61, 10, 0xe9, 10, 0x62), "text-lines")).toEqual([
      [2, "not-utf8"],
    ]);
    const long = `${"x".repeat(5_000_000)}\n`;
    const { records, faults } = await read("a.txt", `a\n\n${long}${long}\nb`, "text-paragraphs");
    expect(faults).toMatchObject([{ line: 3, code: "line-too-long" }]);
    expect(records).toMatchObject([
      { line: 1, values: { text: "a" } },
      { line: 6, values: { text: "b" } },
    ]);
    await expect(read("a.txt", long + long, "text")).rejects.toThrow(/10000002 bytes; .* 8000000 .*by line/);
  });
});

describe("JSON", () => {
  it.each([
    ["a list", '[{"text":"a"},{"text":"b"}]'],
    ["an object with a list", '{"version": 1, "tags": ["x"], "data": [{"text":"a"},{"text":"b"}]}'],
  ])("is %s of rows", async (_, content) => {
    expect(await rowsIn("a.json", content)).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
  });

  it("may be one row", async () => {
    const { records } = await read("a.json", '{"messages": [{"role": "user"}], "id": 1}');
    expect(records).toEqual([{ line: 1, values: { messages: [{ role: "user" }], id: 1 } }]);
  });

  it("counts the items that are no objects", async () => {
    const { records, faults } = await read("a.json", '[{"text":"a"}, "b", null, {"text":"\\ud800"}]');
    expect(records.map(({ line }) => line)).toEqual([1, 4]);
    expect(records[1]!.values).toEqual({ text: "\ufffd" });
    expect(faults.map(({ message }) => message)).toEqual([
      'a.json, row 2 is "b", not an object.',
      "a.json, row 3 is null, not an object.",
    ]);
  });

  it.each([
    ["broken", "[{]", /a\.json is not JSON: .*JSONL/],
    ["a text", '"a"', /holds "a", expected a list/],
    ["two lists", '{"train": [{}], "test": [{}]}', /several lists of rows: "train", "test"/],
    ["Latin-1", Uint8Array.of(0x5b, 0xe9, 0x5d), /is not UTF-8/],
  ])("is refused where it is %s", async (_, content, says) => {
    await expect(read("a.json", content, "json")).rejects.toThrow(says);
  });
});

describe("JSON Lines", () => {
  it("go on after a line that is broken, too long or not UTF-8", async () => {
    const long = new TextEncoder().encode(`{"text":"${"x".repeat(9_000_000)}"}\n`);
    const good = new TextEncoder().encode('{"text":"a"}\n');
    const parts = [good, long, good, Uint8Array.of(0x22, 0xe9, 0x0a), good, good.subarray(0, 5)];
    const { records, faults, faultCount } = await read("a.jsonl", new Uint8Array(Buffer.concat(parts)));
    expect(records.map(({ line }) => line)).toEqual([1, 3, 5]);
    expect(faults.map(({ line, code }) => [line, code])).toEqual([
      [2, "line-too-long"],
      [4, "not-utf8"],
      [6, "row-json"],
    ]);
    expect(faultCount).toBe(3);
  });

  it("may not be nested without end", async () => {
    const nested = (depth: number) => `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}\n`;
    const content = nested(63) + nested(64) + nested(1_000_000);
    expect(await faultsIn("a.jsonl", content)).toEqual([
      [2, "row-depth"],
      [3, "row-depth"],
    ]);
    const list = content.trim().replaceAll("\n", ",");
    expect(await faultsIn("a.json", `[${list}]`)).toHaveLength(2);
  });

  it("count all faults and keep the first hundred", async () => {
    const { faults, faultCount } = await read("a.jsonl", `{"text":"a"}\n${"1\n".repeat(250)}`);
    expect(faultCount).toBe(250);
    expect(faults.map(({ line }) => line)).toEqual(Array.from({ length: 100 }, (_, i) => i + 2));
  });
});

describe("CSV", () => {
  it("has quotes, line ends and separators in its fields", async () => {
    const content = '\ufeffq,"a, b"\r\n"1 ""x""","l1\r\nl2"\r\n\r\n 2 ,3\r\n';
    const { columns, records, faultCount } = await read("a.csv", content);
    expect(columns).toEqual(["q", "a, b"]);
    expect(records).toEqual([
      { line: 2, values: { q: '1 "x"', "a, b": "l1\r\nl2" } },
      { line: 5, values: { q: " 2 ", "a, b": "3" } },
    ]);
    expect(faultCount).toBe(0);
  });

  it.each([
    [";", "a.csv"],
    ["\t", "a.csv"],
    ["|", "a.csv"],
    ["\t", "a.tsv"],
  ])("may be separated by %j in %s", async (mark, name) => {
    const content = `frage${mark}antwort\nWer, wie?${mark}Der.\nWas?${mark}"Das${mark}da."\n`;
    expect(await rowsIn(name, content)).toEqual([
      [2, "Wer, wie?", "Der."],
      [3, "Was?", `Das${mark}da.`],
    ]);
  });

  it("may have one column, a column without a name, old line ends or none at its end", async () => {
    expect(await rowsIn("a.csv", "text\nhello\nworld")).toEqual([
      [2, "hello"],
      [3, "world"],
    ]);
    expect((await read("a.csv", ",q,a\n0,x,y\n")).columns).toEqual(["column 1", "q", "a"]);
    expect(await rowsIn("a.csv", 'q,a\rx,"y"\r')).toEqual([[2, "x", "y"]]);
    expect(await rowsIn("a.csv", "q,a")).toEqual([]);
  });

  it("counts rows with too few or too many fields", async () => {
    const { records, faults } = await read("a.csv", "q,a\n1,2\n3\n4,5,6\n7,8\n");
    expect(records.map(({ line }) => line)).toEqual([2, 5]);
    expect(faults.map(({ message }) => message)).toEqual([
      "a.csv, line 3 has 1 field, the header has 2.",
      "a.csv, line 4 has 3 fields, the header has 2.",
    ]);
  });

  it("goes on in the next line where a quote is not closed", async () => {
    const content = 'q,a\n1,2\n3,"x\n4,5\n6,"y"\n7,"z\n8,9\n';
    const { records, faults } = await read("a.csv", content);
    expect(records.map(({ line, values }) => [line, values.a])).toEqual([
      [2, "2"],
      [4, "5"],
      [5, "y"],
      [7, "9"],
    ]);
    expect(faults.map(({ line, code }) => [line, code])).toEqual([
      [3, "csv-quote"],
      [6, "csv-quote"],
    ]);
  });

  it("reads the same whichever place of the file is read at a time", async () => {
    const rows = Array.from({ length: 70_000 }, (_, i) => `${i},"${"é, ".repeat(i % 90)}\n""${i}"""\n`);
    const content = `n,a\n${rows.join("")}`;
    expect(content.length).toBeGreaterThan(8_000_000);
    const { records, faultCount } = await read("a.csv", content);
    expect(faultCount).toBe(0);
    expect(records).toHaveLength(rows.length);
    const isRight = ({ line, values }: (typeof records)[number], i: number) =>
      line === 2 + 2 * i && values.n === `${i}` && values.a === `${"é, ".repeat(i % 90)}\n"${i}"`;
    expect(records.findIndex((record, i) => !isRight(record, i))).toBe(-1);
  });

  it("loses one row to a quote that is never closed in a large file", async () => {
    const text = "y".repeat(1000);
    const content = `n,a\n"0,x\n${`1,${text}\n`.repeat(10_000)}`;
    const { records, faults } = await read("a.csv", content);
    expect(faults.map(({ line, code }) => [line, code])).toEqual([[2, "csv-quote"]]);
    expect(records).toHaveLength(10_000);
    expect(records.at(-1)).toEqual({ line: 10_002, values: { n: "1", a: text } });
  });

  it("may have a hundred thousand columns", async () => {
    const names = Array.from({ length: 100_000 }, (_, i) => `c${i}`).join(",");
    expect((await read("a.csv", `${names}\n${names}\n`)).columns).toHaveLength(100_000);
  });

  it.each<[string, string | Uint8Array, RegExp]>([
    ["a column twice", "q,a, q\n1,2,3", /two columns named "q".*Rename/],
    ["__proto__ as a column", "q,__proto__\n1,2", /named "__proto__"/],
    ["Latin-1", Uint8Array.of(0x61, 0x0a, 0xe9), /not UTF-8.*CSV UTF-8/],
    ["a character cut in two", Uint8Array.of(0x61, 0x0a, 0xc3), /not UTF-8/],
    ["UTF-16", utf16("a,b"), /UTF-16/],
    ["quotes that are never closed", `a,b\n${'"x,y\n'.repeat(40_000)}`, /opens so many quotes/],
    ["a line without an end", `a,b\n${"x".repeat(17_000_000)}`, /line 2 is longer than 8 MB/],
  ])("is refused with %s", async (_, content, says) => {
    await expect(read("a.csv", content, "csv")).rejects.toThrow(says);
  });
});

describe("Parquet", () => {
  it.each(["none", "snappy", "gzip", "zstd"])("is read, packed with %s, over row groups", async (packing) => {
    const table = await read("a.parquet", fixture(`conversations.${packing}.parquet`));
    expect(table.columns).toEqual(["id", "messages", "source"]);
    expect(table.records).toHaveLength(7);
    const turns = [
      { role: "user", content: "Frage 3? \u{1f600}" },
      { role: "assistant", content: "Antwort 3." },
    ];
    expect(table.records[3]).toEqual({
      line: 4,
      values: { id: 2 ** 40 + 3, messages: [...turns, ...turns], source: null },
    });
    expect(table.records[4]!.values.source).toBe("made");
  });

  it("gives JSON for every type of column", async () => {
    const { records } = await read("a.parquet", fixture("columns.parquet"));
    const [first, second, third] = records.map(({ values }) => values);
    expect(first).toEqual({
      text: "é\u2028",
      unmarked: "plain",
      big: String(2 ** 53),
      score: 0.5,
      flag: true,
      when: "2024-05-06T07:08:09.000Z",
    });
    expect(second).toEqual({ text: "", unmarked: null, big: 1, score: null, flag: false, when: null });
    expect(Object.values(third!)).toEqual(Array(6).fill(null));
  });

  it("is refused where it is packed otherwise, cut or none at all", async () => {
    const whole = fixture("conversations.snappy.parquet");
    const refused = async (bytes: Uint8Array) => read("a.parquet", bytes, "parquet").catch((error) => error);
    expect(await refused(fixture("conversations.brotli.parquet"))).toMatchObject({
      code: "parquet",
      message: expect.stringMatching(/compression codec: BROTLI.*snappy, gzip or zstd/),
    });
    for (const bytes of [whole.subarray(0, 1000), new Uint8Array(), new TextEncoder().encode("PAR1")]) {
      expect(await refused(bytes)).toBeInstanceOf(DataError);
    }
  });

  it("is refused or read whatever byte of it is another", async () => {
    const whole = fixture("conversations.snappy.parquet");
    for (let at = 0; at < whole.length; at += 3) {
      const bytes = Uint8Array.from(whole);
      bytes[at]! ^= 0x55;
      const result = await read("a.parquet", bytes, "parquet").catch((error) => error);
      if (result instanceof Error) expect(result, `byte ${at}`).toBeInstanceOf(DataError);
    }
  });
});

describe("reading", () => {
  it.each(DATA_FORMATS.filter((format) => format !== "parquet"))(
    "tells how far it is, for %s",
    async (format) => {
      const content: Partial<Record<DataFormat, string>> = {
        json: '[{"text":"a"}]',
        jsonl: '{"text":"a"}\n',
      };
      const sources = [1, 2].map((n) => sourceOf(`${n}`, content[format] ?? "text\nb"));
      const total = 2 * sources[0]!.size;
      const calls: number[][] = [];
      await readTables(sources, { format, onProgress: (...told) => calls.push(told) });
      expect(calls[0]).toEqual([0, total, 0]);
      expect(calls.at(-1)!.slice(0, 2)).toEqual([total, total]);
    },
  );

  it("stops when it is told to", async () => {
    const stop = new AbortController();
    const source = sourceOf("a.jsonl", '{"text":"a"}\n'.repeat(400_000));
    let rows = 0;
    const reading = readTables([source], {
      signal: stop.signal,
      onProgress: (_read, _total, soFar) => {
        rows = soFar;
        if (soFar > 0) stop.abort();
      },
    });
    await expect(reading).rejects.toMatchObject({ name: "AbortError" });
    expect(rows).toBeLessThan(400_000);
  });
});
