import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { BUNDLED_SETS } from "../../src/data/bundled.ts";
import { LORA_FIELDS } from "../../src/lora/fields.ts";
import { TRAIN_KEYS } from "../../src/train/fields.ts";
import { parseRunFile } from "../../src/train/runFile.ts";
import { FIRST_CHOICES, recommendedFor } from "../../src/ui/material.ts";
import {
  BASIC_KEYS,
  beyondDefaults,
  changed,
  FORM_FIELDS,
  fieldOf,
  parseValue,
  READING_KEYS,
  sameSettings,
  settingOf,
  settingsOf,
  writeValue,
} from "../../src/ui/settings.ts";

describe("an adapter's config", () => {
  it("is told by what differs from PEFT's defaults, and by keys that PEFT does not know", () => {
    const given = JSON.parse(
      readFileSync("reference/dumps/runs/llama_all_linear/final/adapter_config.json", "utf8"),
    );
    const stated = beyondDefaults({
      mine: 1,
      none: null,
      ...given,
      use_dora: true,
      target_modules: ["up_proj"],
    });
    expect(stated.filter(([key]) => key !== "auto_mapping")).toEqual([
      ["lora_alpha", 16],
      ["target_modules", ["up_proj"]],
      ["use_dora", true],
      ["peft_type", "LORA"],
      ["base_model_name_or_path", "reference/dumps/bases/llama"],
      ["inference_mode", true],
      ["peft_version", "0.21.2"],
      ["mine", 1],
    ]);
  });
});

describe("the form", () => {
  it("has every setting that a run file has but how rows are read, and no other", () => {
    const settings = Object.entries(LORA_FIELDS).filter(([, { role }]) => role === "setting");
    const train = TRAIN_KEYS.filter((key) => !(READING_KEYS as readonly string[]).includes(key));
    expect(FORM_FIELDS.map(({ key }) => key)).toEqual([...settings.map(([key]) => key), ...train]);
    for (const key of BASIC_KEYS) expect(fieldOf(key).description).not.toBe("");
  });

  it("offers what can only be chosen", () => {
    expect(fieldOf("bias")).toMatchObject({ control: "choice", choices: ["none", "all", "lora_only"] });
    expect(fieldOf("init_lora_weights").control).toBe("text");
    expect(fieldOf("use_dora").control).toBe("switch");
  });

  it("accepts its defaults, and each value reads back as it was", () => {
    for (const field of FORM_FIELDS) {
      expect(field.accepts(field.default), field.key).toBe(true);
      expect(parseValue(writeValue(field.default)), field.key).toEqual(field.default);
    }
  });

  it.each([
    ["", null],
    ["  ", null],
    ["0.005", 0.005],
    ["1e-4", 1e-4],
    ["true", true],
    ["gaussian", "gaussian"],
    ["all-linear", "all-linear"],
    ["q_proj, v_proj", ["q_proj", "v_proj"]],
    ["0, 2", [0, 2]],
    ['["q_proj"]', ["q_proj"]],
    ['{"q_proj": 4}', { q_proj: 4 }],
    [".*\\.(q|v)_proj", ".*\\.(q|v)_proj"],
    [".*layers\\.[0-9]{1,2}\\.q_proj", ".*layers\\.[0-9]{1,2}\\.q_proj"],
  ])("reads %j", (text, value) => {
    expect(parseValue(text)).toEqual(value);
    expect(parseValue(writeValue(value))).toEqual(value);
  });

  it("tells a value that cannot be", () => {
    expect(fieldOf("r").accepts(0)).toBe(false);
    expect(fieldOf("r").accepts("x")).toBe(false);
    expect(fieldOf("learning_rate").accepts(-1)).toBe(false);
    expect(fieldOf("lora_dropout").accepts(1)).toBe(false);
    expect(fieldOf("eval_steps").accepts(null)).toBe(true);
    expect(fieldOf("max_steps").accepts(1.5)).toBe(false);
  });
});

describe("settings", () => {
  it("are changed one by one, and compared with their defaults filled in", () => {
    const before = { lora: {}, train: {} };
    const after = changed(before, "lora", "r", 16);
    expect(settingOf(before, fieldOf("r"))).toBe(8);
    expect(settingOf(after, fieldOf("r"))).toBe(16);
    expect(sameSettings(before, changed(before, "lora", "r", 8))).toBe(true);
    expect(sameSettings(before, after)).toBe(false);
  });

  it("come from a run file, which is checked as the engine checks it", () => {
    expect(settingsOf({ lora: { r: 4 } }, "run.json")).toEqual({ lora: { r: 4 }, train: {} });
    expect(() => settingsOf({ lora: { rank: 4 } }, "run.json")).toThrow(/run\.json.*rank/);
    expect(() => settingsOf({ train: [] }, "run.json")).toThrow(/run\.json/);
  });

  it("that are recommended are a run file, for every data set and for models of one's own", () => {
    const model = { label: "own", files: [] };
    for (const { id, run } of BUNDLED_SETS) {
      const choices = { ...FIRST_CHOICES, data: { kind: "bundled", id } as const };
      const recommended = recommendedFor(choices);
      const parsed = parseRunFile({ ...recommended }, "recommended");
      expect(parsed.train).toMatchObject(run.train);
      expect(parsed.lora).toMatchObject(run.lora);
      expect(parseRunFile({ ...recommendedFor({ ...choices, model }) }, "own").train.learning_rate).toBe(
        2e-4,
      );
    }
  });
});
