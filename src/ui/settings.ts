/** The run's settings as a form shows them. What there is to set, its meaning and its limits come from the run file's own fields. */
import * as v from "valibot";
import { type Json, type JsonObject, sameJson } from "../base/json.ts";
import { isLoraKey, LORA_FIELDS, LORA_KEYS, type LoraField } from "../lora/fields.ts";
import { TRAIN_FIELDS, TRAIN_KEYS, type TrainField } from "../train/fields.ts";
import { expectedOf, parseRunFile, schemaOf } from "../train/runFile.ts";

/** A run file: only what differs from the defaults need stand in it. */
export interface Settings {
  readonly lora: JsonObject;
  readonly train: JsonObject;
}

export type Section = keyof Settings;

/** Keys of a run file's `train` that say how rows are read: they go with the data, not with the settings. */
export const READING_KEYS = ["data_format", "column_mapping", "dataset_text_field", "eval_split"] as const;
/** What of them is stated. */
export type Reading = { readonly [key in (typeof READING_KEYS)[number]]?: JsonObject[string] };

export interface FormField {
  readonly section: Section;
  readonly key: string;
  readonly control: "number" | "switch" | "choice" | "text";
  readonly choices: readonly string[];
  readonly default: Json;
  readonly description: string;
  readonly expected: string;
  accepts(value: Json): boolean;
}

/** Shown at once; the others stand under "Advanced". */
export const BASIC_KEYS: readonly string[] = [
  "r",
  "lora_alpha",
  "target_modules",
  "learning_rate",
  "max_steps",
  "per_device_train_batch_size",
];

const WORDS: Readonly<Record<string, string>> = {
  r: "Rank",
  lora_alpha: "Alpha",
  target_modules: "Modules",
  learning_rate: "Learning rate",
  max_steps: "Steps",
  per_device_train_batch_size: "Batch size",
};

const CONTROLS: Readonly<Record<TrainField["kind"], FormField["control"]>> = {
  integer: "number",
  number: "number",
  optional: "number",
  "optional integer": "number",
  boolean: "switch",
  "optional boolean": "text",
  "optional text": "text",
  choice: "choice",
  "optional choice": "text",
  name: "text",
  mapping: "text",
  samples: "text",
  groups: "text",
  patterns: "text",
};

const isReading = (key: string): boolean => (READING_KEYS as readonly string[]).includes(key);

export const FORM_FIELDS: readonly FormField[] = [
  ...LORA_KEYS.flatMap((key) => loraField(key, LORA_FIELDS[key])),
  ...TRAIN_KEYS.filter((key) => !isReading(key)).map((key) => trainField(key, TRAIN_FIELDS[key])),
];

/** What a field is called: in words where everybody meets it, else as in the run file. */
export function labelOf({ key }: FormField): string {
  return WORDS[key] ?? key;
}

export function fieldOf(key: string): FormField {
  const field = FORM_FIELDS.find((candidate) => candidate.key === key);
  if (!field) throw new Error(`There is no setting ${key}.`);
  return field;
}

function loraField(key: string, field: LoraField): FormField[] {
  if (field.role !== "setting") return [];
  const { schema, expected, description, choices = [] } = field;
  return [
    {
      ...{ section: "lora", key, description, expected, choices, default: field.default },
      control: loraControl(field.default, expected, choices),
      accepts: (value) => v.is(schema, value),
    },
  ];
}

function loraControl(fallback: Json, expected: string, choices: readonly string[]): FormField["control"] {
  if (choices.length > 0) return "choice";
  if (typeof fallback === "number") return "number";
  // init_lora_weights takes words too: a switch would hide them.
  return expected === "true or false" ? "switch" : "text";
}

function trainField(key: string, field: TrainField): FormField {
  const schema = schemaOf(field);
  const control = CONTROLS[field.kind];
  return {
    ...{ section: "train", key, control, description: field.description, expected: expectedOf(field) },
    choices: field.kind === "choice" ? field.choices : [],
    default: field.default,
    accepts: (value) => v.is(schema, value),
  };
}

export function settingOf(settings: Settings, { section, key, default: fallback }: FormField): Json {
  return settings[section][key] ?? fallback;
}

/** A value as the form shows it; parseValue reads it back. */
export function writeValue(value: Json): string {
  if (value === null) return "";
  if (typeof value === "string") return value;
  const isWords = Array.isArray(value) && value.every((item) => typeof item !== "object" || item === null);
  // A word that would be read as something else keeps its quotes.
  const write = (item: Json) =>
    typeof item === "string" && parseValue(item) === item ? item : JSON.stringify(item);
  return isWords && value.length > 1 ? value.map(write).join(", ") : JSON.stringify(value);
}

/** Nothing is null; numbers, true, false, lists and objects are JSON's; commas make a list; the rest is a word. */
export function parseValue(text: string): Json {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  try {
    return JSON.parse(trimmed) as Json;
  } catch {
    // Brackets and stars are a pattern's, and there a comma is one too.
    const isList = trimmed.includes(",") && !/[()[\]{}*\\]/.test(trimmed);
    return isList ? trimmed.split(",").map((item) => parseValue(item)) : trimmed;
  }
}

/** What an adapter_config.json says beyond PEFT's defaults: PEFT's keys in the order of the form, then those it does not know. */
export function beyondDefaults(config: JsonObject): [key: string, value: Json][] {
  const fallback = (key: string): Json => (isLoraKey(key) ? LORA_FIELDS[key].default : null);
  const place = (key: string): number => (isLoraKey(key) ? LORA_KEYS.indexOf(key) : LORA_KEYS.length);
  return Object.entries(config)
    .filter(([key, value]) => value !== null && !sameJson(value, fallback(key)))
    .sort(([a], [b]) => place(a) - place(b));
}

/** Settings with one value changed. A value that is the default stays: it was stated. */
export function changed(settings: Settings, section: Section, key: string, value: Json): Settings {
  return { ...settings, [section]: { ...settings[section], [key]: value } };
}

export function sameSettings(a: Settings, b: Settings): boolean {
  return FORM_FIELDS.every((field) => sameJson(settingOf(a, field), settingOf(b, field)));
}

/** A run file's settings. Throws ConfigError, which names the file. */
export function settingsOf(json: JsonObject, fileName: string): Settings {
  parseRunFile(json, fileName);
  // The check has found both to be objects, where they are there.
  const { lora = {}, train = {} } = json as Partial<Record<Section, JsonObject>>;
  return { lora, train };
}

/** Settings without what they say of how rows are read, and that. */
export function partsOf({ lora, train }: Settings): { settings: Settings; reading: Reading } {
  const parts = (reads: boolean) =>
    Object.fromEntries(Object.entries(train).filter(([key]) => isReading(key) === reads));
  return { settings: { lora, train: parts(false) }, reading: parts(true) };
}
