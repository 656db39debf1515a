/** The optimizer's parameter groups: the learning rate and the weight decay of every tensor that trains. */
import * as v from "valibot";
import { ConfigError } from "../base/errors.ts";
import { type JsonObject, show } from "../base/json.ts";
import { nearestName } from "../base/nearest.ts";
import { type AdapterEntry, adapterEntries } from "../lora/adapterKeys.ts";
import { checkValue, unknownKey } from "../lora/config.ts";
import { compilePythonPattern } from "../lora/pythonPattern.ts";
import type { Selection } from "../lora/selection.ts";
import type { Model } from "../models/model.ts";

/** One of the run file's `param_groups`. A number that is null stays what it would be without the group. */
export type ParamGroupSetting = {
  readonly params: string;
  readonly lr: number | null;
  readonly weight_decay: number | null;
};

export interface GroupedTrainConfig {
  learning_rate: number;
  weight_decay: number;
  param_groups: ParamGroupSetting[] | null;
  loraplus_lr_ratio: number | null;
  loraplus_lr_embedding: number;
}

/** What a group's tensors have in common. */
export interface GroupRates {
  /** The setting that puts tensors here: `param_groups[0]`, `loraplus_lr_ratio`; null where none does. */
  readonly by: string | null;
  /** The highest of the schedule. */
  readonly lr: number;
  readonly weight_decay: number;
}

export interface ParameterGroup extends GroupRates {
  /** PEFT's names of its tensors; each trainable tensor is in one group. */
  readonly keys: readonly string[];
}

/** A tensor that trains, as people are told of it. */
export interface TrainableTensor {
  /** PEFT's name, which it has in the adapter's file. */
  readonly key: string;
  /** The base model's name, where it is a tensor of the base's own. */
  readonly name: string | null;
  readonly shape: readonly number[];
  /** Its place in the list of groups. */
  readonly group: number;
}

const rate = v.optional(v.nullable(v.pipe(v.number(), v.finite(), v.minValue(0))), null);
const PARAM_GROUP = { params: v.pipe(v.string(), v.nonEmpty()), lr: rate, weight_decay: rate };
const PARAM_GROUP_KEYS = Object.keys(PARAM_GROUP);

/** Checks `param_groups` group by group. Throws ConfigError. */
export function parseParamGroups(given: readonly JsonObject[], path: string): ParamGroupSetting[] {
  return given.map((group, i) => {
    for (const key of Object.keys(group)) {
      if (!Object.hasOwn(PARAM_GROUP, key)) throw unknownKey(`${path}[${i}]`, key, PARAM_GROUP_KEYS);
    }
    if (!Object.hasOwn(group, "params"))
      throw new ConfigError(
        "bad-value",
        `${path}[${i}] is ${show(group)}, expected a pattern in "params" that says which tensors it takes.`,
        'Add it; ".*" takes all that no group before it takes.',
      );
    const expected = 'a pattern in "params", and numbers of at least 0 in "lr" and "weight_decay"';
    return checkValue(v.object(PARAM_GROUP), group, `${path}[${i}]`, {
      expected,
      fallback: null,
    }) as ParamGroupSetting;
  });
}

/**
 * The groups of all that trains. The first of `param_groups` whose pattern matches a tensor's name takes it; what a
 * group leaves open, and every other tensor, is as LoRA+ or the Trainer has it.
 */
export function parameterGroups(
  model: Model,
  selection: Selection,
  train: GroupedTrainConfig,
): ParameterGroup[] {
  const entries = adapterEntries(selection);
  const asked = (train.param_groups ?? []).map((group, i) => {
    const by = `param_groups[${i}]`;
    return { ...group, by, pattern: compilePythonPattern(group.params, `train.${by}.params`) };
  });
  const groups = new Map<string, ParameterGroup & { readonly keys: string[] }>();
  for (const entry of entries) {
    const own =
      train.loraplus_lr_ratio === null ? plainRates(model, entry, train) : loraPlusRates(model, entry, train);
    const first = asked.find(({ pattern }) => pattern.fullMatch(entry.key));
    const rates: GroupRates = first
      ? { by: first.by, lr: first.lr ?? own.lr, weight_decay: first.weight_decay ?? own.weight_decay }
      : own;
    const id = JSON.stringify([rates.by, rates.lr, rates.weight_decay]);
    const group = groups.get(id) ?? { ...rates, keys: [] };
    groups.set(id, group);
    group.keys.push(entry.key);
  }
  const used = new Set([...groups.values()].map(({ by }) => by));
  const idle = asked.find(({ by }) => !used.has(by));
  if (idle)
    throw matchesNothing(
      idle,
      entries,
      entries.some(({ key }) => idle.pattern.fullMatch(key)),
    );
  return [...groups.values()];
}

/** Everything that trains, in the order of the adapter's file. */
export function trainableTensors(selection: Selection, groups: readonly ParameterGroup[]): TrainableTensor[] {
  const groupOf = groupByKey(groups);
  return adapterEntries(selection).map((entry) => {
    const { key, shape, module } = entry;
    const name = entry.part === "parameter" ? `${module}.${entry.parameter}` : null;
    return { key, name, shape, group: groupOf.get(key)! };
  });
}

/** The place of each tensor's group in the list, by PEFT's name. */
export function groupByKey(groups: readonly ParameterGroup[]): Map<string, number> {
  return new Map(groups.flatMap(({ keys }, i) => keys.map((key) => [key, i] as const)));
}

/** As Transformers' Trainer: biases and the weights of norms do not decay. */
function plainRates(model: Model, entry: AdapterEntry, train: GroupedTrainConfig): GroupRates {
  const decays = !isBias(entry) && !isNorm(model, entry);
  return { by: null, lr: train.learning_rate, weight_decay: decays ? train.weight_decay : 0 };
}

/**
 * As PEFT's create_loraplus_optimizer (Hayou et al. 2024): lora_B and every vector learn faster, the halves of
 * an embedding at a rate of their own. Only biases and LayerNorm's weights do not decay; those of RMSNorm do.
 */
function loraPlusRates(model: Model, entry: AdapterEntry, train: GroupedTrainConfig): GroupRates {
  const { learning_rate, weight_decay, loraplus_lr_ratio, loraplus_lr_embedding } = train;
  const isHalf = entry.part === "lora_A" || entry.part === "lora_B";
  if (isHalf && model.module(entry.module).kind === "embedding")
    return { by: "loraplus_lr_embedding", lr: loraplus_lr_embedding, weight_decay };
  if (entry.part !== "lora_B" && entry.shape.length !== 1)
    return { by: null, lr: learning_rate, weight_decay };
  const decays = !isBias(entry) && !(isNorm(model, entry) && model.config.normKind === "layer");
  const lr = learning_rate * loraplus_lr_ratio!;
  return { by: "loraplus_lr_ratio", lr, weight_decay: decays ? weight_decay : 0 };
}

function isBias(entry: AdapterEntry): boolean {
  return entry.part === "lora_bias" || (entry.part === "parameter" && entry.parameter === "bias");
}

function isNorm(model: Model, entry: AdapterEntry): boolean {
  return entry.part === "parameter" && model.module(entry.module).kind === "norm";
}

function matchesNothing(
  { by, params }: { readonly by: string; readonly params: string },
  entries: readonly AdapterEntry[],
  taken: boolean,
): ConfigError {
  const nearest = nearestName(
    params,
    entries.map(({ key }) => key),
  );
  return new ConfigError(
    "group-matches-nothing",
    taken
      ? `train.${by}: all that ${show(params)} matches is in groups before it, and the first match wins.`
      : `train.${by}: ${show(params)} matches the whole name of no tensor that trains.`,
    taken ? "Put it before them, or leave it out." : `The nearest name is "${nearest}".`,
  );
}
