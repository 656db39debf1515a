import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import {
  BUNDLED_MODEL,
  BUNDLED_ROWS,
  BUNDLED_SETS,
  type BundledSet,
  reachesGoal,
} from "../../src/data/bundled.ts";
import type { Row } from "../../src/data/rows.ts";
import { buildTokenizer } from "../../src/data/tokenizer.ts";
import { parseRunFile } from "../../src/train/runFile.ts";
import { inlineTemplate } from "./inline.ts";
import { parseRows } from "./parseRows.ts";
import { tokenizeRows } from "./tokenizeRows.ts";

const served = (path: string) => new URL(`../../public/${path}`, import.meta.url);
const modelFile = (name: string) => served(`${BUNDLED_MODEL.folder}/${name}`);
const json = (name: string) => JSON.parse(readFileSync(modelFile(name), "utf8")) as JsonObject;

const config = json("config.json");
const tokenizer = buildTokenizer(json("tokenizer.json"), json("tokenizer_config.json"));
const template = inlineTemplate(readFileSync(modelFile("chat_template.jinja"), "utf8"), tokenizer);

async function rowsOf(file: string): Promise<readonly Row[]> {
  const bytes = new Uint8Array(readFileSync(served(`${BUNDLED_ROWS}/${file}`)));
  const source = {
    name: file,
    size: bytes.length,
    read: async (start: number, end: number) => bytes.slice(start, end),
  };
  return (await parseRows(source, { format: "jsonl" })).rows;
}

/** What a row says, without what a copy of it could differ in. */
const exact = (row: Row) => JSON.stringify("text" in row ? row.text : { ...row, line: 0 });
const normalised = (row: Row) =>
  exact(row)
    .toLowerCase()
    .replace(/[^a-z]/g, "");
const heldFiles = (set: BundledSet) => set.checks.filter((check) => check.heldOut).map((check) => check.rows);

describe("the bundled model", () => {
  it.each(BUNDLED_MODEL.files)("has its %s", (name) => {
    expect(existsSync(modelFile(name))).toBe(true);
  });

  it("is small enough to be served with the page, and says where it comes from", () => {
    expect(readFileSync(modelFile("model.safetensors")).length).toBeLessThan(6.2e6);
    const card = readFileSync(modelFile("README.md"), "utf8");
    expect(card).toContain("WordNet 3.1 Copyright 2011 by Princeton University.");
    expect(card).toContain("Held-out loss");
  });
});

describe("the bundled data sets", () => {
  it("are four, each with a name of its own", () => {
    expect(BUNDLED_SETS.map(({ id }) => id)).toEqual(["capitals", "spam", "pirate", "bible"]);
  });

  it.each([
    ["capitals.train.jsonl", 60],
    ["capitals.held.jsonl", 60],
    ["spam.train.jsonl", 1200],
    ["spam.held.jsonl", 200],
    ["pirate.train.jsonl", 600],
    ["pirate.held.jsonl", 60],
    ["bible.train.jsonl", 2000],
    ["bible.held.jsonl", 200],
  ])("%s has %i rows, no two alike", async (file, count) => {
    const rows = await rowsOf(file);
    expect(rows).toHaveLength(count);
    expect(new Set(rows.map(exact)).size).toBe(count);
    expect(readFileSync(served(`${BUNDLED_ROWS}/${file}`)).length).toBeLessThan(400_000);
  });

  describe.each(BUNDLED_SETS.map((set) => [set.id, set] as const))("%s", (_, set) => {
    it("holds out rows that the run never sees, not even with other letters or signs", async () => {
      expect(heldFiles(set).length).toBeGreaterThan(0);
      const taught = await rowsOf(set.train);
      const taughtExactly = new Set(taught.map(exact));
      const taughtNormalised = new Set(taught.map(normalised));
      for (const file of heldFiles(set)) {
        const held = await rowsOf(file);
        expect(held.filter((row) => taughtExactly.has(exact(row)))).toEqual([]);
        expect(held.filter((row) => taughtNormalised.has(normalised(row)))).toEqual([]);
      }
    });

    it("fits the model's context, with targets in every row", async () => {
      for (const file of [set.train, ...heldFiles(set)]) {
        const rows = await rowsOf(file);
        expect(rows.every((row) => ("text" in row ? "text" : "chat") === set.kind)).toBe(true);
        const { eosToken } = tokenizer;
        const options = { eosToken, maxLength: 256, vocabSize: Number(config.vocab_size), template };
        const tokenised = await tokenizeRows(rows, tokenizer, options);
        expect(tokenised).toMatchObject({ cut: 0, leftOut: 0 });
        expect(tokenised.rows).toHaveLength(rows.length);
      }
    });

    it("names a run that Graft takes", () => {
      const { lora, train } = parseRunFile(set.run, `${set.id}.json`);
      expect(lora).toMatchObject({ r: 8, lora_alpha: 16, target_modules: "all-linear" });
      expect(train).toMatchObject({ lr_scheduler_type: "linear", warmup_steps: 10, max_length: 256 });
    });

    it("reached its goal with PEFT", () => {
      for (const { withPeft } of set.checks) {
        expect(reachesGoal(set, withPeft.before, withPeft.after)).toBe(true);
        expect(reachesGoal(set, withPeft.before, withPeft.before)).toBe(false);
        expect(reachesGoal(set, withPeft.before, Number.NaN)).toBe(false);
      }
    });
  });

  it("asks for the same capitals in words that are not taught", async () => {
    const answers = async (file: string) =>
      (await rowsOf(file)).map((row) => ("messages" in row ? row.messages[1]!.content : undefined));
    expect(await answers("capitals.held.jsonl")).toEqual(await answers("capitals.train.jsonl"));
    const asked = (await rowsOf("capitals.held.jsonl")).map(exact);
    expect(asked.every((row) => row.includes("Tell me the capital of "))).toBe(true);
  });

  it("has as much spam as ham, so that guessing is right half of the time", async () => {
    for (const file of ["spam.train.jsonl", "spam.held.jsonl"]) {
      const rows = await rowsOf(file);
      const spam = rows.filter((row) => "messages" in row && row.messages[1]!.content === "Spam.");
      expect(spam.length).toBe(rows.length / 2);
    }
  });
});
