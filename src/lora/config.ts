import * as v from "valibot";
import { ConfigError } from "../base/errors.ts";
import type { Json, JsonObject } from "../base/json.ts";
import { isJsonObject, sameJson, show } from "../base/json.ts";
import { nearestName } from "../base/nearest.ts";
import { plural } from "../base/words.ts";
import type { LoraField, LoraKey } from "./fields.ts";
import { isLoraKey, LORA_FIELDS, LORA_KEYS } from "./fields.ts";

/** PEFT's LoraConfig, checked, with its defaults filled in. The names and meanings are PEFT's. */
export interface LoraConfig {
  r: number;
  lora_alpha: number;
  lora_dropout: number;
  target_modules: string | string[] | null;
  exclude_modules: string | string[] | null;
  layers_to_transform: number | number[] | null;
  layers_pattern: string | string[] | null;
  rank_pattern: Record<string, number>;
  alpha_pattern: Record<string, number>;
  use_rslora: boolean;
  /** A run asks for what `initialStart` draws; an adapter that is loaded may have begun in other ways. */
  init_lora_weights: boolean | string;
  modules_to_save: string[] | null;
  fan_in_fan_out: boolean;
  bias: "none" | "all" | "lora_only";
  lora_bias: boolean;
  use_dora: boolean;
  ensure_weight_tying: boolean;
  trainable_token_indices: number[] | Record<string, number[]> | null;
  /** Keys that change nothing here, as they stood in the file: they survive into the export. */
  described: JsonObject;
}

export interface ParsedLora {
  config: LoraConfig;
  /** The keys that the file states, which is what an adapter to start from is compared with. */
  stated: LoraKey[];
  warnings: string[];
}

/** The `lora` part of a run file. An unknown key is an error that names the nearest known one. */
export function parseLoraConfig(json: unknown, path = "lora"): ParsedLora {
  const given = objectAt(json, path);
  const stated = Object.keys(given).map((key) => {
    if (!isLoraKey(key)) throw unknownKey(path, key, LORA_KEYS);
    return key;
  });
  return { config: readConfig(given, path, "run"), stated, warnings: [] };
}

/** An `adapter_config.json`. Unknown keys are kept, as newer versions of PEFT add some; PEFT warns too. */
export function parseAdapterConfig(json: unknown, path = "adapter_config.json"): ParsedLora {
  const given = objectAt(json, path);
  if (given.peft_type !== "LORA") {
    throw new ConfigError(
      "not-lora",
      `${path}: peft_type is ${show(given.peft_type)}, expected "LORA".`,
      "Only LoRA adapters can be loaded.",
    );
  }
  const stated = Object.keys(given).filter(isLoraKey);
  const unknown = Object.keys(given).filter((key) => !isLoraKey(key));
  const warnings = unknown.length
    ? [`${path}: unknown ${plural(unknown.length, "key")} ${unknown.map(show).join(", ")}: kept, not used.`]
    : [];
  return { config: readConfig(given, path, "adapter"), stated, warnings };
}

/** The error for a key that nobody knows. `path` is where it stands. */
export function unknownKey(path: string, key: string, known: Iterable<string>): ConfigError {
  const nearest = nearestName(key, known);
  return new ConfigError(
    "unknown-key",
    `${path}: unknown key ${show(key)}.`,
    nearest ? `The nearest known key is "${nearest}".` : "",
  );
}

export function objectAt(json: unknown, path: string): JsonObject {
  if (isJsonObject(json)) return json;
  throw new ConfigError(
    "bad-value",
    `${path} is ${show(json)}, expected an object.`,
    'An object holds its keys in braces: {"key": value}.',
  );
}

/** A value that fits its schema, or an error that names the place down to the entry. `fallback` is the key's default. */
export function checkValue<T>(
  schema: v.GenericSchema<unknown, T>,
  value: unknown,
  path: string,
  { expected, fallback }: { readonly expected: string; readonly fallback: Json },
): T {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const inner = v.getDotPath(issue);
  const place = inner ? `${path}.${inner}` : path;
  throw new ConfigError(
    "bad-value",
    `${place} is ${show(inner ? issue.input : value)}, expected ${expected}.`,
    `Correct it, or leave it out: the default is ${show(fallback)}.`,
  );
}

function readConfig(given: JsonObject, path: string, origin: "run" | "adapter"): LoraConfig {
  const described: JsonObject = {};
  const settings: Record<string, unknown> = {};
  for (const key of LORA_KEYS) {
    const field: LoraField = LORA_FIELDS[key];
    const value = Object.hasOwn(given, key) ? given[key]! : field.default;
    const schema =
      origin === "adapter" && field.loaded ? field.loaded : "schema" in field ? field.schema : undefined;
    if (origin === "adapter" && key === "init_lora_weights") refuseStart(value, `${path}.${key}`);
    const expected = "expected" in field ? field.expected : "any value";
    const meant = schema
      ? checkValue(schema, value, `${path}.${key}`, { expected, fallback: field.default })
      : value;
    if (!schema && field.role === "absent") refuseAbsent(value, field, `${path}.${key}`, origin);
    if (field.role === "setting") settings[key] = meant ?? field.default;
    else if (Object.hasOwn(given, key)) described[key] = value;
  }
  for (const key of Object.keys(given)) {
    if (!isLoraKey(key)) Object.defineProperty(described, key, { value: given[key], enumerable: true });
  }
  const config = { ...settings, described } as unknown as LoraConfig;
  checkLengths(config, path);
  checkTogether(config, path);
  return config;
}

/** PEFT's starts that change the base's weights by what training data or a quantised base said. */
const LOST_STARTS = ["corda", "lora_ga", "loftq"];

/** Another word in the config would not bring back the base that such an adapter belongs to. */
function refuseStart(value: Json, path: string): void {
  if (typeof value !== "string" || !LOST_STARTS.includes(value)) return;
  throw new ConfigError(
    "start-unknown",
    `${path} is ${show(value)}: the adapter belongs to a base whose weights that start has changed, and it cannot be computed again from the files.`,
    value === "loftq"
      ? "Merge it in PEFT with the base that it was trained on, and open the merged model."
      : "Where it was trained, save it in PEFT with path_initial_model_for_weight_conversion.",
  );
}

function refuseAbsent(
  value: Json,
  field: LoraField & { role: "absent" },
  path: string,
  origin: "run" | "adapter",
): void {
  const asksForNothing =
    value === null ||
    value === false ||
    (Array.isArray(value) && value.length === 0) ||
    (isJsonObject(value) && Object.keys(value).length === 0) ||
    sameJson(value, field.default);
  if (asksForNothing) return;
  throw new ConfigError(
    "not-supported",
    `${path} is ${show(value)}: ${field.reason}.`,
    origin === "run"
      ? `Leave it out, or set it to ${show(field.default)}.`
      : "Without it the adapter would compute something else: merge it in PEFT, and open the merged model.",
  );
}

/** Far more than any model has, and few enough that a stranger's list is gone through at once. */
const MOST_NAMES = 2000;
const LONGEST_NAME = 200;

function checkLengths(config: LoraConfig, path: string): void {
  for (const key of ["target_modules", "exclude_modules", "modules_to_save", "layers_pattern"] as const) {
    const names = config[key];
    if (!Array.isArray(names)) continue;
    const longest = Math.max(0, ...names.slice(0, MOST_NAMES).map((name) => name.length));
    if (names.length <= MOST_NAMES && longest <= LONGEST_NAME) continue;
    const found = `${names.length} names of up to ${longest} characters`;
    throw new ConfigError(
      "bad-value",
      `${path}.${key} holds ${found}, at most ${MOST_NAMES} of ${LONGEST_NAME} are allowed.`,
      "Write the endings that the modules have in common, or a pattern.",
    );
  }
}

/** What PEFT's LoraConfig checks between keys. */
function checkTogether(config: LoraConfig, path: string): void {
  const { target_modules: target, layers_to_transform: layers, layers_pattern: pattern } = config;
  for (const [key, value] of [
    ["layers_to_transform", layers],
    ["layers_pattern", pattern],
  ] as const) {
    if (typeof target === "string" && value !== null) {
      throw new ConfigError(
        "bad-combination",
        `${path}.${key} cannot be used while target_modules is a string (${show(target)}).`,
        "List the target modules, or put the layers into the pattern.",
      );
    }
  }
  if (config.lora_bias && typeof config.init_lora_weights !== "boolean") {
    throw new ConfigError(
      "bad-combination",
      `${path}.lora_bias is true, and init_lora_weights is ${show(config.init_lora_weights)}: PEFT allows true and false only.`,
      "Begin with init_lora_weights true, or leave lora_bias out.",
    );
  }
  if (config.lora_bias && config.use_dora) {
    throw new ConfigError(
      "bad-combination",
      `${path}.lora_bias and ${path}.use_dora are both true, which PEFT does not allow.`,
      "Leave one of them out.",
    );
  }
  if (pattern !== null && pattern.length > 0 && layers === null) {
    throw new ConfigError(
      "bad-combination",
      `${path}.layers_pattern is ${show(pattern)}, but layers_to_transform is absent.`,
      "Say which layers to transform, or leave layers_pattern out.",
    );
  }
}
