import * as v from "valibot";
import type { Json } from "../base/json.ts";
import { isJsonObject } from "../base/json.ts";
import { isFromBase } from "./init.ts";

/**
 * Every key of PEFT 0.21's LoraConfig, what Graft makes of it, and its default.
 *
 * - `setting`: does what it does in PEFT; `schema` says which values there are.
 * - `described`: says something about the adapter and changes nothing; kept for the export.
 * - `absent`: accepted while it asks for nothing; otherwise refused with the reason.
 */
export type LoraField = { default: Json; description: string } & (
  | {
      role: "setting" | "described";
      schema: v.GenericSchema;
      expected: string;
      /** All that it may be, where these are few words. */
      choices?: readonly string[];
      /** What an adapter that is loaded may hold, where that is more than what a run may ask for. */
      loaded?: v.GenericSchema;
    }
  | { role: "absent"; reason: string; loaded?: v.GenericSchema }
);

const name = v.pipe(v.string(), v.nonEmpty());
const names = v.array(name);
const namesOrPattern = v.nullable(v.union([name, names]));
const layer = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const anything = v.unknown();

/** The task types that PEFT accepts. */
const TASK_TYPES = [
  "SEQ_CLS",
  "SEQ_2_SEQ_LM",
  "CAUSAL_LM",
  "TOKEN_CLS",
  "QUESTION_ANS",
  "FEATURE_EXTRACTION",
];

/** Keys that valibot leaves out of a record unchecked; no module is called so. */
const UNCHECKED = ["__proto__", "prototype", "constructor"];

/** A map from names or patterns to values. */
function keyed<T>(value: v.GenericSchema<unknown, T>) {
  return v.pipe(
    v.custom<Record<string, unknown>>(isJsonObject),
    v.check((map) => !UNCHECKED.some((key) => Object.hasOwn(map, key))),
    v.record(name, value),
  );
}

/** Starts whose names PEFT knows in capitals too. */
const ANY_CASE = ["gaussian", "olora", "mica"];

/** A start by its name, one of `names` or one that is a part of the base's weights. */
function initialisation(...names: string[]) {
  return v.union([
    v.boolean(),
    v.pipe(
      v.string(),
      v.transform((name) => ANY_CASE.find((known) => known === name.toLowerCase()) ?? name),
      v.check((name) => names.includes(name) || isFromBase(name)),
    ),
  ]);
}

/** A map from name patterns to numbers. */
function patternMap(value: v.GenericSchema<unknown, number>) {
  return v.nullable(keyed(value));
}

/** What a run may ask for by true and false; in an adapter null counts as false, in PEFT too. */
const flag = {
  role: "setting" as const,
  schema: v.boolean(),
  expected: "true or false",
  loaded: v.nullable(v.boolean()),
  default: false,
};

const tokenIndices = v.pipe(v.array(layer), v.nonEmpty());
const positiveInteger = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));

function absent(reason: string, description: string, fallback: Json = null): LoraField {
  return { role: "absent", reason, default: fallback, description };
}

function described(
  description: string,
  schema: v.GenericSchema = anything,
  expected = "any value",
): LoraField {
  return { role: "described", schema, expected, default: null, description };
}

/** How init_lora_weights is computed. Of an adapter that is loaded it says nothing: PEFT keeps it when it converts one. */
function startConfig(description: string, fallback: Json = null): LoraField {
  const reason = "initial values that are computed from data or for quantised weights are not built";
  return { ...absent(reason, description, fallback), loaded: anything };
}

const BIASES = ["none", "all", "lora_only"] as const;

const OTHER_METHOD = "this variant of LoRA is not built";

export const LORA_FIELDS = {
  r: {
    role: "setting",
    schema: positiveInteger,
    expected: "an integer of at least 1",
    default: 8,
    description: "Rank of the update: how many rows A has and how many columns B has.",
  },
  lora_alpha: {
    role: "setting",
    schema: positive,
    expected: "a number above 0",
    // PEFT takes any number: 0 switches the adapter off, one below takes it away.
    loaded: v.pipe(v.number(), v.finite()),
    default: 8,
    description: "Strength of the update: its scale is lora_alpha / r.",
  },
  lora_dropout: {
    role: "setting",
    schema: v.pipe(v.number(), v.minValue(0), v.ltValue(1)),
    expected: "a number from 0 to below 1",
    default: 0,
    description: "Share of the inputs of A that are dropped while training.",
  },
  target_modules: {
    role: "setting",
    schema: namesOrPattern,
    expected: 'a list of module names, a pattern, "all-linear" or null',
    default: null,
    description:
      'The modules to adapt: a list of names or endings, a pattern that matches the whole name, or "all-linear". Absent: PEFT\'s default for the family.',
  },
  exclude_modules: {
    role: "setting",
    schema: namesOrPattern,
    expected: "a list of module names, a pattern or null",
    default: null,
    description: "Modules to leave alone, written as in target_modules.",
  },
  layers_to_transform: {
    role: "setting",
    schema: v.nullable(v.union([layer, v.array(layer)])),
    expected: "a layer number, a list of them or null",
    default: null,
    description: "The layers to adapt, counted from 0. Absent: all.",
  },
  layers_pattern: {
    role: "setting",
    schema: v.nullable(v.union([v.string(), names])),
    expected: "a name, a list of names or null",
    default: null,
    description: "The name of the list of layers (`layers`, `h`), where layers_to_transform is ambiguous.",
  },
  rank_pattern: {
    role: "setting",
    schema: patternMap(positiveInteger),
    expected: "an object from module names or patterns to integers of at least 1",
    default: {},
    description: "Other ranks for some modules; the first key that matches wins.",
  },
  alpha_pattern: {
    role: "setting",
    schema: patternMap(positive),
    expected: "an object from module names or patterns to numbers above 0",
    loaded: patternMap(v.pipe(v.number(), v.finite())),
    default: {},
    description: "Other values of lora_alpha for some modules; the first key that matches wins.",
  },
  use_rslora: {
    ...flag,
    description: "Scale by lora_alpha / √r instead of lora_alpha / r.",
  },
  init_lora_weights: {
    role: "setting",
    schema: initialisation("gaussian", "orthogonal"),
    expected:
      'true, false, "gaussian", "orthogonal", "pissa", "pissa_niter_[n]" or "olora" (initial values that are computed from data are not built)',
    default: true,
    // It leaves the base weights as they are, and an adapter that is loaded brings its own values.
    loaded: v.nullable(initialisation("gaussian", "orthogonal", "eva", "mica")),
    description:
      "Initial values: true is uniform A and zero B, gaussian normal A with deviation 1/r, false uniform A and uniform B, orthogonal both normal with B·A = 0 (even ranks only); pissa takes the base's r largest singular values (pissa_niter_[n] approximates them in n rounds), olora the first r rows of its QR.",
  },
  modules_to_save: {
    role: "setting",
    schema: v.nullable(names),
    expected: "a list of module names or null",
    default: null,
    description: "Modules to train whole and save with the adapter: every module whose name ends so.",
  },
  fan_in_fan_out: {
    ...flag,
    description: "Weights are stored [in, out]. Set to what the adapted modules are, as PEFT does.",
  },
  bias: {
    role: "setting",
    schema: v.picklist(BIASES),
    choices: BIASES,
    expected: '"none", "all" or "lora_only"',
    default: "none",
    description:
      "Which biases of the base model train: none, all of them, norms' too, or those of adapted modules.",
  },
  lora_bias: {
    ...flag,
    description:
      "Give B a bias of its own, which is scaled with it. For init_lora_weights true and false only.",
  },
  use_dora: {
    ...flag,
    description: "DoRA: W + s·B·A gives each row its direction, a magnitude that trains its length.",
  },
  trainable_token_indices: {
    role: "setting",
    schema: v.nullable(v.union([tokenIndices, keyed(tokenIndices)])),
    expected: "a list of token ids, an object from module names to such lists, or null",
    default: null,
    description:
      "Tokens whose rows of the embedding train by themselves, and with it those of a tied head; or a list for each of several modules.",
  },
  ensure_weight_tying: {
    ...flag,
    description: "Where the head is tied to the embedding, what trains for one of them is the other's too.",
  },
  task_type: described(
    "The task, CAUSAL_LM here.",
    v.nullable(v.picklist(TASK_TYPES)),
    `one of ${TASK_TYPES.join(", ")} or null`,
  ),
  peft_type: described(
    "The method.",
    v.nullable(v.literal("LORA")),
    '"LORA", the only method there is here,',
  ),
  auto_mapping: described("How PEFT finds the class of the base model."),
  base_model_name_or_path: described("The base model.", v.nullable(v.string()), "a string or null"),
  revision: described("The revision of the base model.", v.nullable(v.string()), "a string or null"),
  inference_mode: {
    ...described("Whether the adapter was saved for use rather than for training."),
    default: false,
  },
  peft_version: described("The version of PEFT that wrote the adapter."),
  megatron_core: {
    ...described("Where Megatron lives; used only with megatron_config."),
    default: "megatron.core",
  },
  qalora_group_size: { ...described("Group size of QA-LoRA; used only with use_qalora."), default: 16 },
  runtime_config: {
    ...absent(
      "settings of PEFT's own memory management have no meaning here",
      "How PEFT holds the model in memory.",
    ),
    default: { ephemeral_gpu_offload: false },
  },
  use_qalora: absent(OTHER_METHOD, "Quantisation-aware LoRA.", false),
  use_bdlora: absent(OTHER_METHOD, "Block-diagonal LoRA."),
  target_parameters: absent(
    "adapting parameters by name (as experts need) is not built yet",
    "Parameters to adapt.",
  ),
  layer_replication: absent("stacking layers anew is not built yet", "Layers to stack anew."),
  alora_invocation_tokens: absent(OTHER_METHOD, "Activated LoRA's invocation."),
  megatron_config: absent("Megatron's layers do not exist here", "Megatron's configuration."),
  loftq_config: startConfig("LoftQ's configuration.", {}),
  eva_config: startConfig("EVA's configuration."),
  corda_config: startConfig("CorDA's configuration."),
  lora_ga_config: startConfig("LoRA-GA's configuration."),
  velora_config: absent(OTHER_METHOD, "VeLoRA's configuration."),
  kasa_config: absent(OTHER_METHOD, "KaSA's configuration."),
  arrow_config: absent(OTHER_METHOD, "Arrow's configuration."),
  monteclora_config: absent(OTHER_METHOD, "Monteclora's configuration."),
} satisfies Record<string, LoraField>;

export type LoraKey = keyof typeof LORA_FIELDS;

export const LORA_KEYS = Object.keys(LORA_FIELDS) as LoraKey[];

export function isLoraKey(key: string): key is LoraKey {
  return Object.hasOwn(LORA_FIELDS, key);
}
