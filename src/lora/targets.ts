import { ConfigError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { biasWarnings, selectBiases } from "./biases.ts";
import type { LoraConfig } from "./config.ts";
import { condenseTargets, endsInEntry } from "./endings.ts";
import { isFromBase, iterationsOf } from "./init.ts";
import {
  chosenLayers,
  layerIndexOf,
  nameMatcher,
  patternLookup,
  refuse,
  type SelectionContext,
} from "./matching.ts";
import type { ModuleDescriptor } from "./modules.ts";
import { ModuleTree, nameChoices, toldOf, unmatched } from "./modules.ts";
import { compilePythonPatterns } from "./pythonPattern.ts";
import { selectSaved } from "./saved.ts";
import { loraScale, ofRank } from "./scale.ts";
import type { LoraTarget, Selection } from "./selection.ts";
import { selectTokens } from "./tokens.ts";
import { resolveTying, tiedTable, tieFactors, withTiedHead } from "./tying.ts";

/** PEFT's TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, for the families there are. */
const DEFAULT_TARGETS: ReadonlyMap<string, readonly string[]> = new Map([
  ["llama", ["q_proj", "v_proj"]],
  ["mistral", ["q_proj", "v_proj"]],
  ["qwen2", ["q_proj", "v_proj"]],
  ["qwen3", ["q_proj", "v_proj"]],
  ["gpt2", ["c_attn"]],
]);

/** Decides, as PEFT does, which modules a config adapts, with which rank and scale, and which train whole. */
export function selectModules(
  modules: readonly ModuleDescriptor[],
  given: LoraConfig,
  context: SelectionContext,
): Selection {
  const tree = new ModuleTree(modules);
  const tying = resolveTying(tree, given, context);
  const { config, shares } = tying;
  const warnings = [...tying.warnings];
  const listed = resolveTargets(tree, config, context);
  const targetModules = typeof listed === "string" ? listed : condenseTargets(listed, tree.names);
  const isExcluded = exclusion(config, context.path);
  const matched = chooseNames(tree, config, targetModules, isExcluded, context.path);
  const chosen = tying.adaptsHead ? withTiedHead(tree, matched, context) : matched;
  if (typeof config.target_modules !== "string") checkListed(tree, listed, isExcluded, context, warnings);
  if (chosen.length === 0) refuse(context, nothingMatched(tree, config, listed, context.path));
  const adapted = chosen.flatMap((name) => adaptable(tree, name, config, context));
  const names = new Set(adapted.map(({ name }) => name));
  const { saved, warnings: savedWarnings } = selectSaved(tree, config, names, context);
  warnings.push(...savedWarnings, ...unusedEntries(tree, config, context.path));
  const ranked = withRanks(adapted, config, context, warnings);
  const lora = shares === "factors" ? tieFactors(ranked, config, warnings) : ranked;
  const tied = shares === "table" ? tiedTable(tree, saved, names, context) : [];
  const biases = selectBiases(tree, config, { adapted: names, saved });
  warnings.push(...biasWarnings(lora, biases.length, config, context.path));
  const tokens = selectTokens(tree, config, { lora, saved }, context);
  if (config.init_lora_weights === "mica") {
    warnings.push(
      `${context.path}.init_lora_weights is "mica": PEFT trains A alone then. Whoever goes on with it here trains B too.`,
    );
  }
  const isConv = adapted.at(-1)?.kind === "conv1d";
  if (config.fan_in_fan_out && !isConv) {
    warnings.push(
      `${context.path}.fan_in_fan_out is true, but the adapted modules are linear: it is taken as false.`,
    );
  }
  const whole = [...saved, ...tied, ...biases];
  const modulesToSave = config.modules_to_save;
  return { lora, whole, tokens, ...tying.named({ targetModules, modulesToSave }), warnings };
}

/** The targets as names, endings or a pattern: defaults and `all-linear` filled in. */
function resolveTargets(
  tree: ModuleTree,
  config: LoraConfig,
  context: SelectionContext,
): string | readonly string[] {
  const target = config.target_modules;
  if (target === null) {
    const defaults = DEFAULT_TARGETS.get(context.modelType);
    if (defaults) return defaults;
    throw new ConfigError(
      "no-default-targets",
      `${context.path}.target_modules is absent, and PEFT has no default for model_type ${show(context.modelType)}.`,
      `Name the modules to adapt, or use "all-linear".`,
    );
  }
  if (typeof target !== "string" || target.toLowerCase() !== "all-linear") return target;
  return [...tree.leaves.values()]
    .filter(({ kind }) => kind === "linear" || kind === "conv1d")
    .map(({ name }) => name);
}

/** exclude_modules, and modules_to_save with all that they contain, which PEFT never adapts. */
export function exclusion(config: LoraConfig, path: string): (name: string) => boolean {
  const { exclude_modules: exclude, modules_to_save: save } = config;
  const excluded = exclude?.length ? nameMatcher(exclude, `${path}.exclude_modules`) : () => false;
  const patterns = compilePythonPatterns(
    (save ?? []).map((entry) => `(^|.*\\.)${entry}($|\\..*)`),
    `${path}.modules_to_save`,
  );
  return (name) => excluded(name) || patterns.some((pattern) => pattern.match(name));
}

/** PEFT's check_target_module_exists over all modules. */
function chooseNames(
  tree: ModuleTree,
  config: LoraConfig,
  targets: string | readonly string[],
  isExcluded: (name: string) => boolean,
  path: string,
): string[] {
  const matches = nameMatcher(targets, `${path}.target_modules`);
  const layers = chosenLayers(config);
  if (typeof targets === "string" || !layers)
    return tree.names.filter((name) => !isExcluded(name) && matches(name));
  const layerOf = layerIndexOf(config, path);
  const whole = new Set(targets);
  return tree.names.filter((name) => {
    if (isExcluded(name) || !matches(name)) return false;
    // A target that is a whole name is adapted whatever its layer.
    if (whole.has(name)) return true;
    const layer = layerOf(name);
    return layer !== undefined && layers.has(layer);
  });
}

/** Each listed target must match something; PEFT stays silent about those that do not. */
function checkListed(
  tree: ModuleTree,
  listed: string | readonly string[],
  isExcluded: (name: string) => boolean,
  context: SelectionContext,
  warnings: string[],
): void {
  if (typeof listed === "string") return;
  const path = `${context.path}.target_modules`;
  const amiss: string[] = [];
  for (const entry of listed) {
    const matched = tree.names.filter((name) => endsInEntry(name, entry));
    if (matched.length > 0 && !matched.every(isExcluded)) continue;
    if (matched.length === 0 && context.origin === "run") refuse(context, unmatched(tree, path, entry));
    else amiss.push(entry);
  }
  const told = toldOf(amiss, (entry) =>
    tree.names.some((name) => endsInEntry(name, entry))
      ? `${path}: all that ${show(entry)} matches is excluded by exclude_modules or modules_to_save.`
      : unmatched(tree, path, entry).message,
  );
  warnings.push(...told);
}

function nothingMatched(
  tree: ModuleTree,
  config: LoraConfig,
  targets: string | readonly string[],
  path: string,
): ConfigError {
  const filters = (["exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern"] as const)
    .filter((key) => config[key] !== null)
    .map((key) => `${key} ${show(config[key])}`);
  return new ConfigError(
    "no-module-matched",
    `${path}: no module is adapted by target_modules ${show(targets)}${filters.length ? ` with ${filters.join(", ")}` : ""}.`,
    `The model has ${nameChoices(tree, 1).join(", ")}.`,
  );
}

/** An embedding's B has no bias in PEFT. */
function embeddingFault(name: string, { lora_bias }: LoraConfig, path: string): ConfigError | undefined {
  if (!lora_bias) return undefined;
  return new ConfigError(
    "not-supported",
    `${path}.lora_bias is true, and target_modules takes ${name}, an embedding: PEFT does not allow it.`,
    "Leave it out of target_modules, or list it in exclude_modules.",
  );
}

/** The module of this name as a list of one, or of none where the fault that it cannot be adapted is collected. */
function adaptable(
  tree: ModuleTree,
  name: string,
  config: LoraConfig,
  context: SelectionContext,
): ModuleDescriptor[] {
  const module = tree.leaves.get(name);
  const fault = adaptingFault(name, module?.kind, config, context.path);
  if (!fault) return [module!];
  refuse(context, fault);
  return [];
}

function adaptingFault(
  name: string,
  kind: ModuleDescriptor["kind"] | undefined,
  config: LoraConfig,
  path: string,
): ConfigError | undefined {
  switch (kind) {
    case "linear":
    case "conv1d":
    case "head":
      return undefined;
    case "embedding":
      return embeddingFault(name, config, path);
    case "norm":
    case "other":
    case undefined:
      return new ConfigError(
        "not-adaptable",
        `${path}.target_modules takes ${name}, which is ${kind === "norm" ? "a norm" : "no linear layer"}: LoRA cannot adapt it, and PEFT refuses it too.`,
        "Target linear layers only, or list it in exclude_modules.",
      );
    default:
      throw kind satisfies never;
  }
}

function withRanks(
  adapted: readonly ModuleDescriptor[],
  config: LoraConfig,
  context: SelectionContext,
  warnings: string[],
): LoraTarget[] {
  const ranks = patternLookup(config.rank_pattern, `${context.path}.rank_pattern`);
  const alphas = patternLookup(config.alpha_pattern, `${context.path}.alpha_pattern`);
  const reduced: string[] = [];
  const lora = adapted.map((module) => {
    const wanted = ranks.firstValue(module.name) ?? config.r;
    const alpha = alphas.firstValue(module.name) ?? config.lora_alpha;
    const full = Math.min(module.inFeatures, module.outFeatures);
    // The reduced rank is the rank: the scale follows it, as if rank_pattern had named it.
    const r = context.origin === "run" ? Math.min(wanted, full) : wanted;
    if (r < wanted) reduced.push(`${module.name} ${wanted} → ${r}`);
    const isHalved = config.init_lora_weights === "orthogonal" && module.kind !== "embedding";
    if (context.origin === "run" && isHalved && r % 2 === 1) {
      const fault = new ConfigError(
        "odd-rank",
        `${context.path}.init_lora_weights is "orthogonal", which halves the rank, but ${module.name} has rank ${r}.`,
        "Give it an even rank, in r or in rank_pattern, or begin in another way.",
      );
      refuse(context, fault);
    }
    const init = config.init_lora_weights;
    const fromBase = isFromBase(init) && module.kind !== "embedding" ? init : null;
    const scale = loraScale(alpha, r, config.use_rslora);
    if (!Number.isFinite(Math.fround(scale))) {
      const found = `${context.path}: ${module.name} has the scale ${scale} by its alpha of ${alpha}, which f32 cannot hold.`;
      refuse(context, new ConfigError("bad-value", found, "Correct lora_alpha or alpha_pattern."));
    }
    if (context.origin === "adapter" && fromBase !== null)
      refuseUnrepeatable(module, fromBase, scale, context);
    const parts = { hasBias: config.lora_bias, hasMagnitude: config.use_dora, fromBase };
    const target: LoraTarget = { module, r, alpha, scale, ...parts };
    // A part of W has no higher rank than W has, whatever the settings say.
    return fromBase === null ? target : ofRank(target, Math.min(r, full), config.use_rslora);
  });
  if (reduced.length > 0) {
    const shown =
      reduced.slice(0, 4).join(", ") + (reduced.length > 4 ? ` and ${reduced.length - 4} more` : "");
    warnings.push(
      `A rank above min(in, out) adds nothing: reduced for ${shown}. The export's rank_pattern says so, and the scale follows the reduced rank.`,
    );
  }
  for (const [key, lookup] of [
    ["rank_pattern", ranks],
    ["alpha_pattern", alphas],
  ] as const) {
    const unused = Object.keys(config[key]).filter((pattern) => !lookup.used.has(pattern));
    const tell = (pattern: string) => `${show(pattern)} matches no adapted module and is ignored.`;
    warnings.push(...toldOf(unused, (pattern) => `${context.path}.${key}: ${tell(pattern)}`));
  }
  return lora;
}

/** An adapter that was saved without the part of the base that it began as: that is computed again, where it can be. */
function refuseUnrepeatable(
  { name, kind }: ModuleDescriptor,
  init: string,
  scale: number,
  { path }: SelectionContext,
): void {
  const why =
    iterationsOf(init) !== undefined
      ? "that start is random, and the file does not hold it"
      : kind === "conv1d" && init === "olora"
        ? `PEFT decomposes the Conv1D ${name} as it is stored, [in, out], and its A and B then belong to no such module`
        : init === "pissa" && scale <= 0
          ? `${name} has the scale ${scale}, and such a start is divided by its root`
          : undefined;
  if (why === undefined) return;
  throw new ConfigError(
    "start-unknown",
    `${path}.init_lora_weights is "${init}": what the adapter adds counts from what it began as, but ${why}.`,
    "Convert it to plain LoRA where it was trained: PEFT's save_pretrained takes path_initial_model_for_weight_conversion.",
  );
}

/** Entries that PEFT lets pass without effect, and that are probably mistakes. */
function unusedEntries(tree: ModuleTree, config: LoraConfig, path: string): string[] {
  const warnings: string[] = [];
  const exclude = config.exclude_modules ?? [];
  const matchesNone = (entry: string) => {
    const matches =
      typeof exclude === "string"
        ? nameMatcher(entry, `${path}.exclude_modules`)
        : (name: string) => endsInEntry(name, entry);
    return !tree.names.some(matches);
  };
  const unused = (typeof exclude === "string" ? [exclude] : exclude).filter(matchesNone);
  warnings.push(...toldOf(unused, (entry) => `${path}.exclude_modules: ${show(entry)} matches no module.`));
  const layers = chosenLayers(config);
  if (layers) {
    const layerOf = layerIndexOf(config, path);
    const present = new Set(tree.names.map(layerOf));
    const missing = [...layers].filter((layer) => !present.has(layer));
    if (missing.length > 0) {
      const told = `${missing.slice(0, 10).join(", ")}${missing.length > 10 ? ", …" : ""}`;
      warnings.push(`${path}.layers_to_transform: the model has no layer ${told}.`);
    }
  }
  return warnings;
}
