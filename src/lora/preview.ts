/** What settings come to on a model, module by module, for people who are still choosing. No weights are read. */
import { failure, GraftError } from "../base/errors.ts";
import { blockBytes } from "../gpu/device.ts";
import { type AdapterEntry, adapterEntries } from "./adapterKeys.ts";
import { type LoraConfig, parseAdapterConfig, parseLoraConfig } from "./config.ts";
import type { SelectionContext } from "./matching.ts";
import type { ModuleDescriptor } from "./modules.ts";
import { type BaseParameter, withRequiresGrad } from "./requiresGrad.ts";
import { exclusion, selectModules } from "./targets.ts";

/** Where requires_grad stands in a run file. */
const TRAIN = "train";

/** Trained values, and the bytes that they take: themselves, their gradients and AdamW's two moments, all in f32. */
export interface Cost {
  readonly values: number;
  readonly bytes: number;
}

export interface PreviewedModule {
  readonly name: string;
  readonly kind: ModuleDescriptor["kind"];
  /** What LoRA gives it; undefined where LoRA does not adapt it. */
  readonly lora: { readonly r: number; readonly alpha: number; readonly scale: number } | undefined;
  /** Which of its parameters train whole: `weight`, `bias`. */
  readonly whole: readonly string[];
  /** How many rows of its weight train by themselves, by trainable_token_indices. */
  readonly rows: number;
  /** exclude_modules or modules_to_save keeps LoRA away from it. */
  readonly isExcluded: boolean;
  /** Of everything in it that trains. */
  readonly cost: Cost;
  /** Of LoRA on it, were it adapted; undefined where these settings cannot adapt it. */
  readonly adapting: Cost | undefined;
}

/** Something that is wrong with the settings, or that has no effect. */
export interface PreviewFault {
  /** The setting that it concerns, where it is about one. */
  readonly key: string | undefined;
  readonly message: string;
  readonly remedy: string;
  /** A run would be refused. */
  readonly isRefusal: boolean;
  /** More faults of this kind that are not listed. */
  readonly alike: number;
}

export interface TargetPreview {
  /** In the order of the model, those without parameters too. */
  readonly modules: readonly PreviewedModule[];
  readonly cost: Cost;
  readonly faults: readonly PreviewFault[];
}

/** Patterns of `train.requires_grad`, and the parameters among which they choose. */
export interface RequiresGradRequest {
  readonly patterns: readonly string[];
  readonly parameters: readonly BaseParameter[];
}

/** `json` is the `lora` part of a run file or an adapter_config.json, as `context.origin` says. */
export function previewTargets(
  modules: readonly ModuleDescriptor[],
  json: unknown,
  context: Omit<SelectionContext, "faults">,
  requiresGrad?: RequiresGradRequest,
): TargetPreview {
  const errors: GraftError[] = [];
  try {
    const parse = context.origin === "run" ? parseLoraConfig : parseAdapterConfig;
    const { config, warnings: unknown } = parse(json, context.path);
    const chosen = selectModules(modules, config, { ...context, faults: errors });
    const selection = requiresGrad
      ? withRequiresGrad(chosen, requiresGrad.parameters, requiresGrad.patterns, {
          ...{ path: TRAIN, faults: errors },
        })
      : chosen;
    const warnings = [...unknown, ...selection.warnings].map((message) => warningOf(message, context.path));
    const adapted = new Map(selection.lora.map((target) => [target.module.name, target]));
    const rows = new Map(selection.tokens.map(({ module, indices }) => [module.name, indices.length]));
    const training = entriesByModule(adapterEntries(selection));
    const possible = possibleEntries(modules, config, context);
    const isExcluded = exclusion(config, context.path);
    const previewed = modules.map((module): PreviewedModule => {
      const { name, kind } = module;
      const target = adapted.get(name);
      const entries = training.get(name) ?? [];
      const wouldTrain = possible.get(name);
      return {
        ...{ name, kind, isExcluded: wouldTrain !== undefined && isExcluded(name) },
        lora: target && { r: target.r, alpha: target.alpha, scale: target.scale },
        whole: entries.flatMap((entry) => (entry.part === "parameter" ? [entry.parameter] : [])),
        rows: rows.get(name) ?? 0,
        cost: costOf(entries),
        adapting: wouldTrain && costOf(wouldTrain),
      };
    });
    const cost = costOf([...training.values()].flat());
    return { modules: previewed, cost, faults: [...faultsOf(errors, context.path), ...warnings] };
  } catch (thrown) {
    if (!(thrown instanceof GraftError)) throw thrown;
    // Nothing can be said of what matches: a pattern that is half typed is no pattern.
    const untouched = modules.map(({ name, kind }): PreviewedModule => {
      const nothing = { lora: undefined, whole: [], rows: 0, isExcluded: false, adapting: undefined };
      return { name, kind, ...nothing, cost: costOf([]) };
    });
    return { modules: untouched, cost: costOf([]), faults: faultsOf([...errors, thrown], context.path) };
  }
}

/** What LoRA would train in each module that these settings can adapt. */
function possibleEntries(
  modules: readonly ModuleDescriptor[],
  config: LoraConfig,
  context: Omit<SelectionContext, "faults">,
): Map<string, AdapterEntry[]> {
  const everything: LoraConfig = {
    ...config,
    target_modules: modules.filter(({ kind }) => kind !== "norm" && kind !== "other").map(({ name }) => name),
    ...{ exclude_modules: null, modules_to_save: null, trainable_token_indices: null, bias: "none" },
    trainable_token_indices: null,
    ...{ layers_to_transform: null, layers_pattern: null },
  };
  const { lora } = selectModules(modules, everything, { ...context, faults: [] });
  return entriesByModule(adapterEntries({ lora, whole: [], tokens: [] }));
}

function entriesByModule(entries: readonly AdapterEntry[]): Map<string, AdapterEntry[]> {
  return grouped(entries, ({ module }) => module);
}

function grouped<T>(items: readonly T[], keyOfItem: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOfItem(item));
    if (group) group.push(item);
    else groups.set(keyOfItem(item), [item]);
  }
  return groups;
}

function costOf(entries: readonly AdapterEntry[]): Cost {
  let [values, bytes] = [0, 0];
  for (const { shape } of entries) {
    const elements = shape.reduce((product, size) => product * size, 1);
    values += elements;
    bytes += 4 * blockBytes(4 * elements);
  }
  return { values, bytes };
}

/** Names that match nothing are listed one by one; of other faults of a kind the first stands for all. */
function faultsOf(errors: readonly GraftError[], path: string): PreviewFault[] {
  const kinds = grouped(errors, ({ code, message }) =>
    code === "target-matches-nothing" ? message : `${code} ${keyOf(message, path)}`,
  );
  return [...kinds.values()].map(([first, ...others]): PreviewFault => {
    const { message, remedy } = failure(first!);
    return { key: keyOf(message, path), message, remedy, isRefusal: true, alike: others.length };
  });
}

function warningOf(message: string, path: string): PreviewFault {
  return { key: keyOf(message, path), message, remedy: "", isRefusal: false, alike: 0 };
}

/** What is said of a setting begins with the place where it stands: `lora.target_modules: …`. */
function keyOf(message: string, path: string): string | undefined {
  const place = [path, TRAIN].find((start) => message.startsWith(`${start}.`));
  return place && /^\w+/.exec(message.slice(place.length + 1))?.[0];
}
