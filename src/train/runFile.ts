import * as v from "valibot";
import { ConfigError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { show } from "../base/json.ts";
import { parseMapping } from "../data/mapping.ts";
import { checkValue, type LoraConfig, objectAt, parseLoraConfig, unknownKey } from "../lora/config.ts";
import { isLoraKey, LORA_FIELDS, LORA_KEYS, type LoraField, type LoraKey } from "../lora/fields.ts";
import { TRAIN_FIELDS, TRAIN_KEYS, type TrainConfig, type TrainField } from "./fields.ts";
import { parseParamGroups } from "./parameterGroups.ts";
import { parseSamples, SAMPLE_FIELDS } from "./samples.ts";

/** A run file with every value decided. */
export interface RunConfig {
  lora: LoraConfig;
  train: TrainConfig;
  /** The keys of `lora` that the file states: only these are compared with an adapter to start from. */
  stated: LoraKey[];
}

const SECTIONS = ["lora", "train"];

/** Checks a run file, `{"lora": {…}, "train": {…}}`, and fills in the defaults. Throws ConfigError. */
export function parseRunFile(json: unknown, fileName: string): RunConfig {
  const file = objectAt(json, fileName);
  for (const key of Object.keys(file)) {
    if (SECTIONS.includes(key)) continue;
    throw misplacedKey(fileName, key, "") ?? unknownKey(fileName, key, SECTIONS);
  }
  const loraGiven = objectAt(file.lora ?? {}, `${fileName}: lora`);
  for (const key of Object.keys(loraGiven)) {
    if (!isLoraKey(key) && isTrainKey(key)) throw misplacedKey(fileName, key, "lora");
  }
  const { config: lora, stated } = parseLoraConfig(loraGiven, `${fileName}: lora`);
  const train = parseTrain(objectAt(file.train ?? {}, `${fileName}: train`), fileName);
  return { lora, train, stated };
}

/** The run as a run file that states everything, for the export beside the adapter. */
export function runFileOf(run: RunConfig): JsonObject {
  const { described, ...lora } = run.lora;
  return { lora: { ...lora, ...described } as JsonObject, train: { ...run.train } };
}

function parseTrain(given: JsonObject, fileName: string): TrainConfig {
  const path = `${fileName}: train`;
  for (const key of Object.keys(given)) {
    if (!isTrainKey(key)) throw misplacedKey(fileName, key, "train") ?? unknownKey(path, key, TRAIN_KEYS);
  }
  const values = TRAIN_KEYS.map((key) => {
    const field: TrainField = TRAIN_FIELDS[key];
    // TrainingArguments writes null where gradient_checkpointing was left alone.
    const absent = !Object.hasOwn(given, key) || (key === "gradient_checkpointing" && given[key] === null);
    if (absent) return [key, field.default];
    return [
      key,
      checkValue(schemaOf(field), given[key], `${path}.${key}`, {
        expected: expectedOf(field),
        fallback: field.default,
      }),
    ];
  });
  const train = Object.fromEntries(values) as TrainConfig;
  if (train.column_mapping) parseMapping(train.column_mapping, `${path}.column_mapping`);
  if (given.samples)
    train.samples = parseSamples(objectAt(given.samples, `${path}.samples`), `${path}.samples`);
  if (train.param_groups)
    train.param_groups = parseParamGroups(given.param_groups as JsonObject[], `${path}.param_groups`);
  checkTogether(train, path);
  return train;
}

function checkTogether(train: TrainConfig, path: string): void {
  if (train.max_steps <= 0 && train.num_train_epochs === 0) {
    throw new ConfigError(
      "nothing-to-train",
      `${path}: max_steps is ${train.max_steps} and num_train_epochs 0, so there is no step to train.`,
      "Set one of them above 0.",
    );
  }
  if (train.eval_steps !== null && train.eval_steps > 1 && !Number.isInteger(train.eval_steps)) {
    throw new ConfigError(
      "bad-value",
      `${path}.eval_steps is ${train.eval_steps}, expected a whole number of steps or a share below 1.`,
    );
  }
  if (
    train.loraplus_lr_ratio === null &&
    train.loraplus_lr_embedding !== TRAIN_FIELDS.loraplus_lr_embedding.default
  ) {
    throw new ConfigError(
      "no-use",
      `${path}.loraplus_lr_embedding is ${train.loraplus_lr_embedding}, which changes nothing while loraplus_lr_ratio is not set.`,
      "Set it, or leave loraplus_lr_embedding out.",
    );
  }
  checkBest(train, path);
}

/** Refuses what asks for evaluations that there will not be, and what nobody would look at. */
function checkBest(train: TrainConfig, path: string): void {
  const users = ["load_best_model_at_end", "early_stopping_patience"] as const;
  const isSet = (key: keyof TrainConfig): boolean => train[key] !== TRAIN_FIELDS[key].default;
  const user = users.find(isSet);
  if (user && train.eval_steps === null) {
    throw new ConfigError(
      "no-evaluations",
      `${path}.${user} is ${train[user]}, but eval_steps is null, so there is nothing to choose between.`,
      "Set eval_steps.",
    );
  }
  const threshold = train.early_stopping_patience === null && isSet("early_stopping_threshold");
  const idle = threshold
    ? "early_stopping_threshold"
    : user
      ? undefined
      : (["metric_for_best_model", "greater_is_better"] as const).find(isSet);
  if (!idle) return;
  const wanted = threshold
    ? "early_stopping_patience is"
    : "load_best_model_at_end and early_stopping_patience are";
  throw new ConfigError(
    "no-use",
    `${path}.${idle} is ${show(train[idle])}, which changes nothing while ${wanted} not set.`,
    `Set ${threshold ? "it" : "one of them"}, or leave ${idle} out.`,
  );
}

/** A key that is known, but belongs elsewhere. */
function misplacedKey(fileName: string, key: string, found: string): ConfigError | undefined {
  const section = isLoraKey(key) ? "lora" : isTrainKey(key) ? "train" : undefined;
  if (section === undefined || section === found) return undefined;
  const where = found ? `${fileName}: ${found}` : fileName;
  return new ConfigError("unknown-key", `${where}: unknown key ${show(key)}.`, `It belongs in "${section}".`);
}

function isTrainKey(key: string): key is keyof TrainConfig {
  return Object.hasOwn(TRAIN_FIELDS, key);
}

export function schemaOf(field: TrainField): v.GenericSchema {
  switch (field.kind) {
    case "integer":
      return v.pipe(v.number(), v.safeInteger(), v.minValue(field.min), v.maxValue(field.max ?? Infinity));
    case "number":
      return v.pipe(
        v.number(),
        v.finite(),
        v.minValue(field.min),
        v.maxValue(field.max ?? Infinity),
        v.ltValue(field.below ?? Infinity),
      );
    case "optional":
      return v.nullable(
        v.pipe(
          v.number(),
          v.finite(),
          v.minValue(field.min),
          v.maxValue(field.max ?? Infinity),
          v.gtValue(field.above ?? -Infinity),
          v.ltValue(field.below ?? Infinity),
        ),
      );
    case "optional integer":
      return v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(field.min)));
    case "boolean":
      return v.boolean();
    case "optional boolean":
      return v.nullable(v.boolean());
    case "optional text":
      return v.nullable(v.pipe(v.string(), v.minLength(1)));
    case "choice":
      return v.picklist(field.choices);
    case "optional choice":
      return v.nullable(v.picklist(field.choices));
    case "name":
      return v.pipe(v.string(), v.nonEmpty());
    case "mapping":
      return v.nullable(v.record(v.string(), v.string()));
    case "samples":
      return v.nullable(v.record(v.string(), v.unknown()));
    case "groups":
      return v.nullable(v.array(v.record(v.string(), v.unknown())));
    case "patterns":
      return v.nullable(v.array(v.pipe(v.string(), v.nonEmpty())));
    default:
      return field satisfies never;
  }
}

/** What a field takes, in words: for errors and for the table. */
export function expectedOf(field: TrainField): string {
  switch (field.kind) {
    case "integer":
      return `an integer ${field.max === undefined ? `of at least ${field.min}` : `from ${field.min} to ${field.max}`}`;
    case "number":
      return `a number ${field.below === undefined ? `of at least ${field.min}` : `from ${field.min} to below ${field.below}`}`;
    case "optional":
      return `${optionalRange(field)} or null`;
    case "optional integer":
      return `an integer of at least ${field.min} or null`;
    case "boolean":
      return "true or false";
    case "optional boolean":
      return "true, false or null";
    case "optional text":
      return field.expected;
    case "choice":
      return `one of ${field.choices.join(", ")}`;
    case "optional choice":
      return `one of ${field.choices.join(", ")} or null`;
    case "name":
      return "a name";
    case "mapping":
      return 'an object such as {"user": "{question}", "assistant": "{answer}"} or null';
    case "samples":
      return 'an object such as {"prompts": ["Once upon a time"], "every": 50} or null';
    case "groups":
      return 'a list such as [{"params": ".*lora_B.*", "lr": 0.001, "weight_decay": 0}] or null';
    case "patterns":
      return "a list of patterns or null";
    default:
      return field satisfies never;
  }
}

function optionalRange({ min, max, above, below }: Extract<TrainField, { kind: "optional" }>): string {
  if (above === undefined) return `a number from ${min} to ${max}`;
  return below === undefined ? `a number above ${above}` : `a number above ${above} and below ${below}`;
}

/** The tables of docs/run-file.md; a test holds the page to them. */
export function runFileTables(): { lora: string; train: string; samples: string } {
  const row = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const head = [row(["key", "takes", "default", "meaning"]), "|---|---|---|---|"];
  const loraRows = LORA_KEYS.map((key) => {
    const field: LoraField = LORA_FIELDS[key];
    const takes = field.role === "absent" ? `its default only: ${field.reason}` : field.expected;
    return row([`\`${key}\``, takes.replace(/,$/, ""), `\`${show(field.default)}\``, field.description]);
  });
  const trainRows = TRAIN_KEYS.map((key) => {
    const field: TrainField = TRAIN_FIELDS[key];
    return row([`\`${key}\``, expectedOf(field), `\`${show(field.default)}\``, field.description]);
  });
  const sampleRows = Object.entries(SAMPLE_FIELDS).map(
    ([key, { expected, default: fallback, description }]) =>
      row([`\`${key}\``, expected, `\`${show(fallback)}\``, description]),
  );
  const table = (rows: readonly string[]): string => [...head, ...rows].join("\n");
  return { lora: table(loraRows), train: table(trainRows), samples: table(sampleRows) };
}
