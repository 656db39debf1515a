import { ConfigError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { nearestName } from "../base/nearest.ts";

/** What LoRA must know of a module of the model: its name as Transformers spells it, its kind and its shapes. */
export interface ModuleDescriptor {
  readonly name: string;
  /**
   * `head` is the output embedding, a linear layer that `all-linear` leaves out. `other` is a module without
   * parameters (`act_fn`, `rotary_emb`, `attn_dropout`): PEFT refuses patterns that take one, so list them.
   */
  readonly kind: "linear" | "conv1d" | "head" | "embedding" | "norm" | "other";
  /** Width of what goes in and comes out; for a norm both are its width, for an embedding [vocabulary, width]. */
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** The embedding whose weight a tied head has. */
  readonly tiedTo?: string;
  /** Shapes of its own parameters as the checkpoint stores them: { weight: [out, in], bias: [out] }. */
  readonly parameters: Readonly<Record<string, readonly number[]>>;
}

/** The model's modules in the order of PyTorch's `named_modules`, with the containers that their names imply. */
export class ModuleTree {
  readonly leaves: ReadonlyMap<string, ModuleDescriptor>;
  /** Names of all modules, containers too, each container before what it holds. */
  readonly names: readonly string[];

  constructor(modules: readonly ModuleDescriptor[]) {
    this.leaves = new Map(modules.map((module) => [module.name, module]));
    this.names = withContainers(modules.map(({ name }) => name));
  }

  /** The modules with parameters that `name` is or contains. */
  within(name: string): ModuleDescriptor[] {
    const leaf = this.leaves.get(name);
    if (leaf) return [leaf];
    return [...this.leaves.values()].filter((module) => module.name.startsWith(`${name}.`));
  }

  /** A list of layers (`model.layers`), which has numbered children and cannot be called itself. */
  isLayerList(name: string): boolean {
    return this.names.some(
      (other) => other.startsWith(`${name}.`) && /^\d+$/.test(other.slice(name.length + 1)),
    );
  }
}

/** Names of modules with those of the containers that they imply, each container before what it holds. */
export function withContainers(leaves: readonly string[]): string[] {
  const names = new Set<string>();
  for (const name of leaves) {
    for (let dot = name.indexOf("."); dot !== -1; dot = name.indexOf(".", dot + 1))
      names.add(name.slice(0, dot));
    names.add(name);
  }
  return [...names];
}

/** The error for an entry of a list that names no module of the model. */
export function unmatched(tree: ModuleTree, path: string, entry: string): ConfigError {
  const nearest = nearestName(entry, nameChoices(tree, entry.split(".").length));
  return new ConfigError(
    "target-matches-nothing",
    `${path}: ${show(entry)} matches no module of the model.`,
    nearest ? `The nearest name is "${nearest}".` : "",
  );
}

/** As many entries of a list as are told one by one. */
const TOLD = 10;

/** The first of what is told of many entries, each made only then, and how many more there are. */
export function toldOf<T>(entries: readonly T[], tell: (entry: T) => string): string[] {
  const told = entries.slice(0, TOLD).map(tell);
  return entries.length > TOLD ? [...told, `The same goes for ${entries.length - TOLD} more.`] : told;
}

/** What a user may have meant: endings of the names of modules, of so many parts. */
export function nameChoices(tree: ModuleTree, parts: number): string[] {
  const named = [...tree.leaves.values()].filter(({ kind }) => kind !== "other");
  return [...new Set(named.map(({ name }) => name.split(".").slice(-parts).join(".")))];
}
