/** `requires_grad`: parameters of the base model that train whole, tensor by tensor, beside what the LoRA config chooses. */
import { ConfigError } from "../base/errors.ts";
import { type JsonObject, show } from "../base/json.ts";
import { nearestName } from "../base/nearest.ts";
import { wholeKey } from "./adapterKeys.ts";
import { refuse, type SelectionContext } from "./matching.ts";
import type { ModuleDescriptor } from "./modules.ts";
import { compilePythonPattern } from "./pythonPattern.ts";
import type { Selection, WholeTensor } from "./selection.ts";
import { knowsTied, tiedWeight } from "./tying.ts";

/** A parameter of the base model, as `named_parameters` lists it: that of a tied head is the embedding's alone. */
export interface BaseParameter {
  readonly module: ModuleDescriptor;
  readonly parameter: string;
  /** The head whose weight it is as well. */
  readonly tiedHead?: ModuleDescriptor;
}

/** Every parameter once, in the order of the modules. */
export function namedParameters(modules: readonly ModuleDescriptor[]): BaseParameter[] {
  const tiedHead = modules.find(({ tiedTo }) => tiedTo !== undefined);
  return modules
    .filter((module) => module !== tiedHead)
    .flatMap((module) => {
      const beside = module.name === tiedHead?.tiedTo ? { tiedHead } : {};
      return Object.keys(module.parameters).map((parameter) => ({ module, parameter, ...beside }));
    });
}

/**
 * A selection with what `requires_grad` adds: every parameter whose name a pattern matches whole. PEFT's file knows
 * modules and not tensors, so it holds what else belongs to them as the base has it.
 */
export function withRequiresGrad(
  selection: Selection,
  parameters: readonly BaseParameter[],
  patterns: readonly string[],
  context: Pick<SelectionContext, "path" | "faults">,
): Selection {
  const path = `${context.path}.requires_grad`;
  const adapted = new Set(selection.lora.map(({ module }) => module.name));
  const matchers = patterns.map((source) => ({
    source,
    pattern: compilePythonPattern(source, path),
    used: false,
  }));
  const taken = new Set(selection.whole.map(nameOf));
  const rows = new Set(selection.tokens.map(({ module }) => module.name));
  const added: WholeTensor[] = [];
  const twice: string[] = [];
  for (const one of parameters) {
    const name = nameOf(one);
    const matched = matchers.filter(({ pattern }) => pattern.fullMatch(name));
    for (const matcher of matched) matcher.used = true;
    if (matched.length === 0) continue;
    const fault = takingFault(one, matched[0]!.source, { adapted, rows }, path);
    if (taken.has(name)) twice.push(name);
    else if (fault) refuse(context, fault);
    else added.push(...tensorsOf(one, { adapted, taken }));
  }
  for (const { source, used } of matchers) {
    if (!used) refuse(context, matchesNothing(source, parameters.map(nameOf), path));
  }
  const whole = [...selection.whole, ...added];
  const beside = heldBeside(parameters, whole, added, adapted);
  const warnings = [...selection.warnings, ...notes(path, twice, beside)];
  return { ...selection, whole, requiresGrad: { added, beside }, warnings };
}

/** An adapter's config, with what makes PEFT load the tensors of `requires_grad` too. */
export function configWithWhole(config: JsonObject, { lora, requiresGrad }: Selection): JsonObject {
  if (!requiresGrad) return config;
  const { added } = requiresGrad;
  const adapted = new Set(lora.map(({ module }) => module.name));
  const staysTied = added.some(({ tiedTo }) => tiedTo !== undefined);
  const modules = added.filter((one) => !isImplied(one)).map(({ module }) => module.name);
  const given = (config.modules_to_save ?? []) as string[];
  const saved = [...new Set([...given, ...modules.filter((name) => !adapted.has(name))])];
  return {
    ...config,
    modules_to_save: saved.length > 0 ? saved : null,
    bias: modules.some((name) => adapted.has(name)) ? "lora_only" : (config.bias ?? "none"),
    ...(staysTied ? { ensure_weight_tying: true } : {}),
  };
}

function nameOf({ module, parameter }: BaseParameter): string {
  return `${module.name}.${parameter}`;
}

/** A head that PEFT ties to the embedding when that alone is named. */
function isImplied({ module, tiedTo }: WholeTensor): boolean {
  return tiedTo !== undefined && knowsTied(module.tiedTo!);
}

/** What else is chosen: names of modules and, for `taken`, of parameters. */
type Choice = Readonly<Record<"adapted" | "taken" | "rows", ReadonlySet<string>>>;

/** A parameter that trains whole; with it the head whose weight it is, unless that has one of its own by now. */
function tensorsOf(
  { module, parameter, tiedHead }: BaseParameter,
  { adapted, taken }: Pick<Choice, "adapted" | "taken">,
): WholeTensor[] {
  const key = wholeKey(module.name, parameter, adapted.has(module.name));
  const own: WholeTensor = { module, parameter, key };
  if (!tiedHead || taken.has(`${tiedHead.name}.weight`)) return [own];
  return [own, tiedWeight(tiedHead, key)];
}

/** Why a parameter cannot train whole. */
function takingFault(
  { module, parameter, tiedHead }: BaseParameter,
  source: string,
  { adapted, rows }: Pick<Choice, "adapted" | "rows">,
  path: string,
): ConfigError | undefined {
  const name = `${module.name}.${parameter}`;
  const owners = [module, ...(tiedHead ? [tiedHead] : [])].map((owner) => owner.name);
  const ofLora = owners.find((owner) => adapted.has(owner));
  if (parameter === "weight" && ofLora !== undefined) {
    return new ConfigError(
      "bad-combination",
      `${path}: ${show(source)} takes ${name}, and LoRA adapts ${ofLora}${ofLora === module.name ? "" : ", whose weight that is as well"}: a matrix either trains whole or is adapted.`,
      "Patterns match whole names. Write more of the name, or list the module in exclude_modules.",
    );
  }
  if (owners.some((owner) => rows.has(owner))) {
    return new ConfigError(
      "bad-combination",
      `${path}: ${show(source)} takes ${name}, and trainable_token_indices takes rows of it.`,
      "Leave it to one of them.",
    );
  }
  return undefined;
}

/** What else PEFT's file must hold of the modules that `added` belong to. */
function heldBeside(
  parameters: readonly BaseParameter[],
  whole: readonly WholeTensor[],
  added: readonly WholeTensor[],
  adapted: ReadonlySet<string>,
): WholeTensor[] {
  const trained = new Set(whole.map(nameOf));
  const modules = new Set(added.map(({ module }) => module.name));
  // As `bias: lora_only` has it: the biases of all adapted modules, or of none.
  const takesBiases = added.some(({ module }) => adapted.has(module.name));
  return parameters
    .filter(({ module, parameter }) =>
      adapted.has(module.name) ? takesBiases && parameter === "bias" : modules.has(module.name),
    )
    .filter((one) => !trained.has(nameOf(one)))
    .map(({ module, parameter }) => {
      const key = wholeKey(module.name, parameter, adapted.has(module.name));
      return { module, parameter, key };
    });
}

function notes(path: string, twice: readonly string[], beside: readonly WholeTensor[]): string[] {
  const more = (count: number) => (count > 1 ? ` and ${count - 1} more` : "");
  const found: string[] = [];
  const [first] = twice;
  if (first !== undefined) {
    found.push(`${path} takes ${first}${more(twice.length)}, which trains already: nothing trains twice.`);
  }
  if (beside.length > 0) {
    found.push(
      `${path}: the adapter's file holds ${nameOf(beside[0]!)}${more(beside.length)} as the base has it, too: PEFT's files hold whole modules.`,
    );
  }
  return found;
}

function matchesNothing(source: string, names: readonly string[], path: string): ConfigError {
  return new ConfigError(
    "target-matches-nothing",
    `${path}: ${show(source)} matches the whole name of no parameter of the base model.`,
    source.includes(", ")
      ? `Several patterns are a list: ${show(source.split(", "))}.`
      : `The nearest name is "${nearestName(source, names)}".`,
  );
}
