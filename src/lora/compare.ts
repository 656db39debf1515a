import { ConfigError } from "../base/errors.ts";
import { sameJson, show } from "../base/json.ts";
import type { LoraConfig } from "./config.ts";
import type { LoraKey } from "./fields.ts";
import { chosenLayers, layerIndexOf } from "./matching.ts";
import type { ModuleDescriptor } from "./modules.ts";
import type { LoraTarget, Selection, TokenRows } from "./selection.ts";
import { selectModules } from "./targets.ts";

/** Keys that say together which modules are adapted, with what rank and scale, and what else trains. */
const SELECTING = [
  "target_modules",
  "exclude_modules",
  "layers_to_transform",
  "layers_pattern",
  "rank_pattern",
  "alpha_pattern",
  "r",
  "lora_alpha",
  "use_rslora",
  "modules_to_save",
  "bias",
  "lora_bias",
  "use_dora",
  "trainable_token_indices",
  "ensure_weight_tying",
] as const satisfies LoraKey[];

/**
 * Compares what a run file states with the adapter that the run starts from. Only stated keys count, by what
 * they come to on this model: other spellings, another order, or a pattern for a list of names agree. A real
 * disagreement is a ConfigError that names the key and both values. Gives warnings.
 */
export function compareWithAdapter(
  run: { readonly lora: LoraConfig; readonly stated: readonly LoraKey[] },
  adapter: { readonly config: LoraConfig; readonly selection: Selection },
  modules: readonly ModuleDescriptor[],
  modelType: string,
): string[] {
  const { config, selection } = adapter;
  const stated = new Set(run.stated);
  if (stated.has("lora_dropout") && run.lora.lora_dropout !== config.lora_dropout) {
    throw disagreement([{ key: "lora_dropout", wanted: run.lora.lora_dropout, found: config.lora_dropout }]);
  }
  const differing = SELECTING.filter((key) => stated.has(key) && !sameMeaning(run.lora[key], config[key]));
  const agrees = (keys: readonly LoraKey[]) =>
    sameSelection(selectionOf({ ...config, ...pick(run.lora, keys) }, modules, modelType), selection);
  if (differing.length > 0 && !agrees(SELECTING.filter((key) => stated.has(key)))) {
    // Name the keys that disagree by themselves; where it takes several together, all of them.
    const alone = differing.filter((key) => !agrees([key]));
    const guilty = alone.length > 0 ? alone : differing;
    throw disagreement(guilty.map((key) => ({ key, wanted: run.lora[key], found: config[key] })));
  }
  const initDiffers = run.lora.init_lora_weights !== config.init_lora_weights;
  return stated.has("init_lora_weights") && initDiffers
    ? ["lora.init_lora_weights has no effect: the run starts from the adapter's own values."]
    : [];
}

/** The same text, or the same list in another order. The order of keys counts: the first pattern that matches wins. */
function sameMeaning(
  a: LoraConfig[LoraKey & keyof LoraConfig],
  b: LoraConfig[LoraKey & keyof LoraConfig],
): boolean {
  const sorted = (value: typeof a) => (Array.isArray(value) ? [...new Set<unknown>(value)].sort() : value);
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function pick(config: LoraConfig, keys: readonly LoraKey[]): Partial<LoraConfig> {
  return Object.fromEntries(Object.entries(config).filter(([key]) => keys.some((picked) => picked === key)));
}

/** What a config chooses on this model, or undefined where it adapts nothing. */
function selectionOf(
  config: LoraConfig,
  modules: readonly ModuleDescriptor[],
  modelType: string,
): Selection | undefined {
  let selection: Selection;
  try {
    selection = selectModules(modules, config, { modelType, origin: "adapter", path: "lora" });
  } catch (thrown) {
    if (thrown instanceof ConfigError && thrown.code === "no-module-matched") return undefined;
    throw thrown;
  }
  const layers = chosenLayers(config);
  if (typeof config.target_modules !== "string" || !layers) return selection;
  // PEFT has no layers beside a pattern; between a run file and an adapter the two can meet, and both count.
  const layerOf = layerIndexOf(config, "lora");
  return {
    ...selection,
    lora: selection.lora.filter(({ module }) => layers.has(layerOf(module.name) ?? -1)),
  };
}

function sameSelection(wanted: Selection | undefined, found: Selection): boolean {
  return (
    wanted !== undefined &&
    wanted.lora.length === found.lora.length &&
    wanted.lora.every((target, i) => sameTarget(target, found.lora[i]!)) &&
    wanted.whole.length === found.whole.length &&
    wanted.whole.every(
      ({ key, tiedTo }, i) => key === found.whole[i]!.key && tiedTo === found.whole[i]!.tiedTo,
    ) &&
    wanted.tokens.length === found.tokens.length &&
    wanted.tokens.every((rows, i) => sameTokens(rows, found.tokens[i]!))
  );
}

/** Order counts: it says which row of the tensor is which token's. */
function sameTokens(wanted: TokenRows, found: TokenRows): boolean {
  return wanted.key === found.key && sameJson([...wanted.indices], [...found.indices]);
}

/** A rank above min(in, out) agrees with the rank that a new run would have reduced it to. */
function sameTarget(wanted: LoraTarget, found: LoraTarget): boolean {
  const { module, r, alpha, hasBias } = wanted;
  if (module.name !== found.module.name || alpha !== found.alpha || hasBias !== found.hasBias) return false;
  if (wanted.hasMagnitude !== found.hasMagnitude || wanted.tiedTo?.name !== found.tiedTo?.name) return false;
  const reduced = Math.min(r, module.inFeatures, module.outFeatures);
  return r === found.r ? wanted.scale === found.scale : reduced === found.r;
}

function disagreement(keys: { key: string; wanted: unknown; found: unknown }[]): ConfigError {
  const said = keys.map(
    ({ key, wanted, found }) => `lora.${key} is ${show(wanted)}, the adapter has ${show(found)}`,
  );
  return new ConfigError(
    "adapter-disagrees",
    `The run file and the adapter to start from disagree: ${said.join("; ")}.`,
    "An adapter keeps its modules and shapes: leave these keys out of the run file, or start without the adapter.",
  );
}
