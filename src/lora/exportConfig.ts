import type { Json, JsonObject } from "../base/json.ts";
import type { LoraConfig } from "./config.ts";
import { LORA_FIELDS, LORA_KEYS } from "./fields.ts";
import { patternLookup } from "./matching.ts";
import { escapePattern } from "./pythonPattern.ts";
import type { LoraTarget, Selection } from "./selection.ts";

/** The PEFT whose format is written. */
const PEFT_VERSION = "0.21.2";

/**
 * The adapter_config.json of a new adapter, with all the keys that PEFT saves. PEFT, reading it, adapts the same
 * modules with the same ranks and scales.
 */
export function exportConfig(selection: Selection, config: LoraConfig, baseModel: string | null): JsonObject {
  const saved: JsonObject = {};
  for (const key of LORA_KEYS) {
    // PEFT's own memory settings are the one thing it does not save.
    if (key === "runtime_config") continue;
    saved[key] = key in config ? (config[key as keyof LoraConfig] as Json) : LORA_FIELDS[key].default;
  }
  return {
    ...saved,
    ...config.described,
    base_model_name_or_path: config.described.base_model_name_or_path ?? baseModel,
    task_type: config.described.task_type ?? "CAUSAL_LM",
    peft_type: "LORA",
    peft_version: config.described.peft_version ?? PEFT_VERSION,
    inference_mode: true,
    target_modules:
      typeof selection.targetModules === "string" ? selection.targetModules : [...selection.targetModules],
    modules_to_save: selection.modulesToSave && [...selection.modulesToSave],
    fan_in_fan_out: selection.lora.at(-1)?.module.kind === "conv1d",
    rank_pattern: patternsFor(selection.lora, config.rank_pattern, config.r, ({ r }) => r),
    alpha_pattern: patternsFor(selection.lora, config.alpha_pattern, config.lora_alpha, ({ alpha }) => alpha),
  };
}

/**
 * The adapter_config.json of an adapter that was loaded: its own keys, also those nobody knows, with PEFT's
 * defaults for the keys it lacks, or has null for: PEFT would not open all of these.
 */
export function reexportConfig(given: JsonObject): JsonObject {
  const complete: JsonObject = { ...given, peft_version: given.peft_version ?? PEFT_VERSION };
  for (const key of LORA_KEYS) complete[key] = complete[key] ?? LORA_FIELDS[key].default;
  // PEFT's own memory settings are the one thing it does not save.
  delete complete.runtime_config;
  return { ...complete, inference_mode: true };
}

/**
 * A rank_pattern or alpha_pattern that gives each module its value. PEFT takes the first key that matches, but
 * saves keys sorted, so an order that mattered in the run file may be lost: the patterns given are kept where
 * they still come to the same, otherwise modules are named one by one.
 */
export function patternsFor(
  targets: readonly LoraTarget[],
  given: Readonly<Record<string, number>>,
  fallback: number,
  wanted: (target: LoraTarget) => number,
): Record<string, number> {
  const named = (choose: (target: LoraTarget) => boolean, spell: (name: string) => string) =>
    targets.filter(choose).map((target): [string, number] => [spell(target.module.name), wanted(target)]);
  const plain = (name: string) => name;
  const lookup = patternLookup(given, "");
  const isWrong = (target: LoraTarget) =>
    (lookup.firstValue(target.module.name) ?? fallback) !== wanted(target);
  const candidates = [
    () => Object.entries(given),
    () => [...Object.entries(given), ...named(isWrong, plain)],
    () => named((target) => wanted(target) !== fallback, plain),
    () =>
      named(
        () => true,
        (name) => `^${escapePattern(name)}`,
      ),
  ];
  for (const candidate of candidates) {
    const patterns = sortedRecord(candidate());
    const read = patternLookup(patterns, "").firstValue;
    if (targets.every((target) => (read(target.module.name) ?? fallback) === wanted(target))) return patterns;
  }
  throw new Error("patterns that name every module exactly do not give its value");
}

function sortedRecord(entries: readonly [string, number][]): Record<string, number> {
  return Object.fromEntries([...new Map(entries)].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

/**
 * As Python's `json.dumps(config, indent=2, sort_keys=True)` writes it, byte by byte. A number that Python holds
 * as a float has a point even where it is whole; of all keys that is lora_dropout.
 */
export function pythonJson(config: JsonObject): string {
  return dump(config, "");
}

function dump(value: Json, indent: string, isFloat = false): string {
  const inner = `${indent}  `;
  if (typeof value === "number") return isFloat ? pythonFloat(value) : pythonNumber(value);
  if (typeof value === "string") return pythonString(value);
  if (value === null || typeof value === "boolean") return String(value);
  const isList = Array.isArray(value);
  const items = isList
    ? value.map((item) => dump(item, inner))
    : Object.keys(value)
        .sort()
        .map((key) => `${pythonString(key)}: ${dump(value[key]!, inner, key === "lora_dropout")}`);
  const [open, close] = isList ? "[]" : "{}";
  if (items.length === 0) return `${open}${close}`;
  return `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
}

function pythonNumber(value: number): string {
  return Number.isSafeInteger(value) ? String(value) : pythonFloat(value);
}

/** Python changes to exponents below 1e-4 and from 1e16 on, and gives them two digits at least. */
function pythonFloat(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** JSON with everything outside printable ASCII escaped. */
function pythonString(text: string): string {
  return JSON.stringify(text).replace(
    /[^\x20-\x7e]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
