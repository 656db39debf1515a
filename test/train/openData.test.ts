import { describe, expect, it } from "vitest";
import { readDataset } from "../../src/train/dataset.ts";
import { OpenData } from "../../src/train/openData.ts";
import { parseRunFile } from "../../src/train/runFile.ts";
import { sourceOf } from "../data/sources.ts";

const CSV = 'Frage;Thema;Antwort\nWer?;x;Ich.\nWas?;x;"Das; da."\nWer?;x;Ich.\nzu;wenig\nWo?;x;Hier.\n';
const MAPPING = { column_mapping: { user: "{Frage}", assistant: "{Antwort}" } };
const trainOf = (train: object) => parseRunFile({ train }, "run.json").train;

async function opened(content: string, train: object, name = "a.csv") {
  const data = new OpenData();
  const sources = { train: [sourceOf(name, content)], heldOut: [], key: content };
  await data.read(sources, trainOf(train));
  return data;
}

describe("rows that are looked at before they are trained on", () => {
  it("are told about while nobody has said yet what the columns mean", async () => {
    const data = await opened(CSV, {});
    const facts = data.facts(trainOf({}), "refuse");
    expect(facts).toMatchObject({
      ...{ files: [{ name: "a.csv", format: "csv" }], columns: ["Frage", "Thema", "Antwort"] },
      ...{ shape: undefined, guess: { user: "{Frage}", assistant: "{Antwort}" }, records: 4, train: 0 },
      ...{ faultCount: 1, refusal: { code: "row-shape" } },
    });
    expect(() => data.dataset(trainOf({}), "refuse")).toThrow(/a\.csv has the keys "Frage"/);
    expect(data.lines(1, 1)).toEqual([
      { file: "a.csv", line: 3, cells: ["Was?", "x", "Das; da."], part: "faulty" },
    ]);
  });

  it("are refused for a faulty one, until told to go on without it", async () => {
    const data = await opened(CSV, MAPPING);
    const train = trainOf(MAPPING);
    const { refusal, faults } = data.facts(train, "refuse");
    expect(refusal).toMatchObject({ code: "csv-fields" });
    expect(faults.map(({ line }) => line)).toEqual([5]);
    const facts = data.facts(train, "skip");
    expect(facts).toMatchObject({ refusal: undefined, faultCount: 1, train: 4, duplicates: 1 });
    expect(facts.preview[0]).toEqual({ question: "Wer?", text: "Ich." });
    expect(facts.unusedColumns).toEqual(["Thema"]);
    expect(data.dataset(train, "skip").train).toHaveLength(4);
    expect(data.facts(train, "skip")).toBe(facts);
  });

  it("are edited, and edits are taken back", async () => {
    const data = await opened(CSV, MAPPING);
    const train = trainOf(MAPPING);
    const facts = () => data.facts(train, "skip");
    facts();
    data.edit({ kind: "remove-duplicates" });
    expect(facts()).toMatchObject({ duplicates: 0, train: 3, records: 3, edits: 1 });
    data.edit({ kind: "set", record: 0, values: { ...data.values(0), Antwort: "Du." } });
    data.edit({ kind: "add", values: { Frage: "Wann?", Thema: "", Antwort: "Nie." } });
    expect(facts().train).toBe(4);
    expect(data.lines(3, 9)).toMatchObject([{ line: 7, cells: ["Wann?", "", "Nie."], part: "train" }]);
    expect(data.dataset(train, "skip").train[0]).toMatchObject({
      messages: [{ content: "Wer?" }, { content: "Du." }],
    });
    data.edit({ kind: "remove", record: 0 });
    expect(facts().preview[0]).toEqual({ question: "Was?", text: "Das; da." });
    for (let i = 0; i < 4; i++) data.edit({ kind: "undo" });
    expect(facts()).toMatchObject({ train: 4, duplicates: 1, edits: 0 });
  });

  it("are those that the command trains on", async () => {
    const train = trainOf({ ...MAPPING, eval_split: 0.4, seed: 7 });
    const data = await opened(CSV, MAPPING);
    const read = await readDataset([sourceOf("a.csv", CSV)], [], train, { faulty: "skip" });
    expect(data.dataset(train, "skip")).toEqual(read);
  });

  it("stay the same objects where they are not changed, so that what was tokenised can be kept", async () => {
    const data = await opened(CSV, MAPPING);
    const rows = (train: object) => data.dataset(trainOf({ ...MAPPING, ...train }), "skip").train;
    const before = rows({});
    data.edit({ kind: "set", record: 1, values: { ...data.values(1), Antwort: "Dies." } });
    const after = rows({});
    expect(after.map((row, i) => row === before[i])).toEqual([true, false, true, true]);
    expect(rows({ eval_split: 0.5 }).every((row) => after.includes(row))).toBe(true);
    expect(rows({ column_mapping: { text: "{Antwort}" } })[0]).toEqual({ text: "Ich.", line: 2 });
  });

  it("keep the kind of their columns", async () => {
    const row = { messages: [{ role: "assistant", content: "a" }], n: 1 };
    const data = await opened(JSON.stringify(row), {}, "a.jsonl");
    expect(data.values(0)).toEqual({ messages: JSON.stringify(row.messages), n: "1" });
    expect(data.lines(0, 1)[0]!.cells).toEqual(["a", "1"]);
    expect(() => data.edit({ kind: "set", record: 0, values: { messages: "[", n: "1" } })).toThrow(
      /"messages" is not JSON/,
    );
    data.edit({ kind: "set", record: 0, values: { messages: "[]", n: "" } });
    expect(data.values(0)).toEqual({ messages: "[]", n: "" });
    expect(data.facts(trainOf({}), "skip").refusal).toMatchObject({ code: "row-messages" });
  });

  it("are held out, counted and taken out where they are trained on, too", async () => {
    const lines = Array.from({ length: 10 }, (_, i) => JSON.stringify({ text: `row ${i % 5}` })).join("\n");
    const run = { eval_split: 0.3, seed: 3 };
    const data = await opened(lines, run, "a.jsonl");
    const facts = data.facts(trainOf(run), "refuse");
    expect([facts.train, facts.heldOut]).toEqual([7, 3]);
    const parts = data.lines(0, 10).map(({ part }) => part);
    expect(parts.filter((part) => part === "heldOut")).toHaveLength(3);
    expect(facts.leaks).toBeGreaterThan(0);
    data.edit({ kind: "remove-leaks" });
    expect(data.facts(trainOf(run), "refuse").records).toBe(10 - facts.leaks);
  });
});
