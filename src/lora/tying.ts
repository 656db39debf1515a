import { ConfigError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { wholeKey } from "./adapterKeys.ts";
import type { LoraConfig } from "./config.ts";
import { isFromBase } from "./init.ts";
import { nameMatcher, refuse, type SelectionContext } from "./matching.ts";
import type { ModuleDescriptor, ModuleTree } from "./modules.ts";
import { compilePythonPattern, escapePattern } from "./pythonPattern.ts";
import { ofRank } from "./scale.ts";
import type { LoraTarget, Selection, WholeTensor } from "./selection.ts";

/** PEFT's EMBEDDING_LAYER_NAMES. */
const EMBEDDING_NAMES = ["embed_tokens", "lm_head"];

/** Whether PEFT knows an entry as one that speaks of tied modules. */
export function knowsTied(entry: string): boolean {
  return EMBEDDING_NAMES.includes(entry.slice(entry.lastIndexOf(".") + 1));
}

/** Starts under which PEFT leaves the head's factors what the embedding has; others give the head its own. */
const TIED_STARTS: readonly LoraConfig["init_lora_weights"][] = [true, false, "gaussian", "eva"];

/** The settings by which PEFT finds modules, as it saves them. */
type NamedModules = Pick<Selection, "targetModules" | "modulesToSave">;

/** What ensure_weight_tying comes to, which PEFT settles before it looks for modules. */
export interface Tying {
  /** The embedding stands in it for the head: PEFT chooses modules by it. */
  readonly config: LoraConfig;
  /** What a tied head has of the embedding: its table that trains, or LoRA's factors. */
  readonly shares: "table" | "factors" | undefined;
  /** LoRA adapts the head, whatever the settings say of it: it follows the embedding. */
  readonly adaptsHead: boolean;
  /** What is saved of the settings, for PEFT to tie again what it reads. */
  readonly named: (chosen: NamedModules) => NamedModules;
  readonly warnings: readonly string[];
}

export function resolveTying(tree: ModuleTree, config: LoraConfig, context: SelectionContext): Tying {
  const { path } = context;
  const { ensure_weight_tying: ties, target_modules: targets, modules_to_save: saved } = config;
  const head = [...tree.leaves.values()].find(({ tiedTo }) => tiedTo !== undefined);
  const isSaved = (saved ?? []).some(knowsTied);
  const isTarget =
    typeof targets === "string"
      ? EMBEDDING_NAMES.some(nameMatcher(targets, `${path}.target_modules`))
      : (targets ?? []).some(knowsTied);
  const named = (chosen: NamedModules): NamedModules => chosen;
  const nothing = (...warnings: string[]): Tying => {
    return { config, shares: undefined, adaptsHead: false, named, warnings };
  };
  if (!head) {
    return ties
      ? nothing(`${path}.ensure_weight_tying is true, but the model has no tied modules.`)
      : nothing();
  }
  const table = head.tiedTo!;
  if (!ties) {
    return takesEither(config, table, head.name, path)
      ? nothing(
          `${head.name} is tied to ${table}, and ensure_weight_tying is false: what trains for one does not reach the other, and merged they are two tensors.`,
        )
      : nothing();
  }
  if (!isSaved && !isTarget) {
    if (takesEither(config, table, head.name, path)) {
      return nothing(
        `${path}.ensure_weight_tying is true, but what trains for ${table} does not reach ${head.name}: PEFT does not know that name as one of tied modules. Name ${head.name}.`,
      );
    }
    return config.trainable_token_indices === null
      ? nothing(`${path}.ensure_weight_tying is true, but neither ${table} nor ${head.name} trains.`)
      : nothing();
  }
  if (isSaved) {
    const modules_to_save = inPlaceOfHead(saved!, table, head.name, path);
    return {
      config: { ...config, modules_to_save },
      shares: "table",
      adaptsHead: false,
      warnings: [],
      named: (chosen) => ({ ...chosen, modulesToSave: knownTied(modules_to_save, head) }),
    };
  }
  const target_modules =
    typeof targets === "string"
      ? `(?:${targets}|^${escapePattern(table)}$)`
      : inPlaceOfHead(targets!, table, head.name, path);
  const isTied = TIED_STARTS.includes(config.init_lora_weights);
  if (context.origin === "run" && isFromBase(config.init_lora_weights)) {
    refuse(context, startOfBoth(config, head, path));
  }
  return {
    config: { ...config, target_modules },
    shares: isTied ? "factors" : undefined,
    adaptsHead: true,
    named: (chosen) => ({ ...chosen, targetModules: knownTied(chosen.targetModules, head) }),
    warnings: isTied
      ? []
      : [
          `${path}.ensure_weight_tying is true, but PEFT gives ${head.name} factors of its own where init_lora_weights is ${show(config.init_lora_weights)}: they are not kept those of ${table}.`,
        ],
  };
}

/** A list with the head's name too where PEFT does not know the embedding's as one of tied modules. A pattern still has it. */
function knownTied<T extends string | readonly string[]>(names: T, head: ModuleDescriptor): T | string[] {
  return typeof names === "string" || knowsTied(head.tiedTo!) ? names : [...names, head.name];
}

/** Whether modules_to_save or target_modules name the embedding or the head that is tied to it. */
function takesEither(
  { target_modules: targets, modules_to_save: saved }: LoraConfig,
  table: string,
  head: string,
  path: string,
): boolean {
  const isTarget = nameMatcher(targets ?? [], `${path}.target_modules`);
  return [table, head].some((name) => isTarget(name) || (saved ?? []).some((entry) => name.endsWith(entry)));
}

/** The entries with the embedding's name, and without the first that takes the head. */
function inPlaceOfHead(entries: readonly string[], table: string, head: string, path: string): string[] {
  const added = entries.includes(table) ? [...entries] : [...entries, table];
  const takesHead = (entry: string) => compilePythonPattern(`(^|.*\\.)${entry}($|\\..*)`, path).match(head);
  const first = added.findIndex(takesHead);
  return added.filter((_, i) => i !== first);
}

function startOfBoth(
  { init_lora_weights: init }: LoraConfig,
  { name, tiedTo }: ModuleDescriptor,
  path: string,
): ConfigError {
  return new ConfigError(
    "bad-combination",
    `${path}.ensure_weight_tying is true and init_lora_weights is ${show(init)}: PEFT gives ${name} factors of its own then, and takes what they begin as out of ${tiedTo} too.`,
    `Begin with init_lora_weights true, or leave ensure_weight_tying out and name both modules: then ${tiedTo} stays as it is.`,
  );
}

/** The head's weight as the embedding's table, which trains whole: PEFT saves it under both names. */
export function tiedTable(
  tree: ModuleTree,
  saved: readonly WholeTensor[],
  adapted: ReadonlySet<string>,
  context: SelectionContext,
): WholeTensor[] {
  const head = [...tree.leaves.values()].find(({ tiedTo }) => tiedTo !== undefined)!;
  const table = saved.find(({ module }) => module.name === head.tiedTo);
  if (adapted.has(head.name)) {
    refuse(
      context,
      new ConfigError(
        "bad-combination",
        `${context.path}.target_modules takes ${head.name}, which ensure_weight_tying gives the table of ${head.tiedTo} that trains whole: PEFT refuses it too.`,
        "Leave the head out of target_modules.",
      ),
    );
  }
  // An entry that PEFT does not know as the head's has made a copy of it.
  const isCopied = saved.some(({ module }) => module === head);
  if (!table || isCopied || adapted.has(head.name)) return [];
  return [tiedWeight(head, table.key)];
}

/** A head's weight that is the tensor of this key. */
export function tiedWeight(head: ModuleDescriptor, tiedTo: string): WholeTensor {
  return { module: head, parameter: "weight", key: wholeKey(head.name, "weight"), tiedTo };
}

/** The names with the head in the place of its own, whatever the settings say of it: it follows the embedding. */
export function withTiedHead(
  tree: ModuleTree,
  names: readonly string[],
  context: SelectionContext,
): string[] {
  const head = [...tree.leaves.values()].find(({ tiedTo }) => tiedTo !== undefined)!;
  if (!names.includes(head.tiedTo!)) {
    refuse(
      context,
      new ConfigError(
        "bad-combination",
        `${context.path}.ensure_weight_tying is true, but ${head.tiedTo} is excluded: there is nothing for ${head.name} to be tied to, and PEFT fails.`,
        "Take it out of exclude_modules, or leave ensure_weight_tying out.",
      ),
    );
    return [...names];
  }
  return [...names.filter((name) => name !== head.name), head.name];
}

/** The targets with a head that has the factors of the embedding, whose rank they have; the scale is the head's own. */
export function tieFactors(
  targets: readonly LoraTarget[],
  { use_rslora }: LoraConfig,
  warnings: string[],
): LoraTarget[] {
  return targets.map((target) => {
    const { module, r } = target;
    const table = targets.find((other) => other.module.name === module.tiedTo);
    if (!table) return target;
    if (table.r !== r) {
      warnings.push(
        `${module.name} has the factors of ${table.module.name} by ensure_weight_tying, and so their rank, ${table.r}: its own, ${r}, decides its scale alone.`,
      );
    }
    return { ...ofRank(target, table.r, use_rslora), tiedTo: table.module };
  });
}
