import { ConfigError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { wholeKey } from "./adapterKeys.ts";
import type { LoraConfig } from "./config.ts";
import { refuse, type SelectionContext } from "./matching.ts";
import type { ModuleDescriptor, ModuleTree } from "./modules.ts";
import { toldOf, unmatched } from "./modules.ts";
import type { WholeTensor } from "./selection.ts";

/**
 * The parameters of modules_to_save, as PEFT takes them: of every module whose name ends in an entry, a plain
 * ending without a dot, so `norm` takes `input_layernorm` too. A container stands for all it holds.
 */
export function selectSaved(
  tree: ModuleTree,
  config: LoraConfig,
  adapted: ReadonlySet<string>,
  context: SelectionContext,
): { saved: WholeTensor[]; warnings: string[] } {
  const entries = config.modules_to_save ?? [];
  const path = `${context.path}.modules_to_save`;
  const warnings: string[] = [];
  const taken: string[] = [];
  for (const name of tree.names) {
    const entry = entries.find((ending) => name.endsWith(ending));
    if (entry === undefined) continue;
    const fault = takingFault(tree, name, entry, { adapted, taken }, path);
    if (fault) refuse(context, fault);
    else taken.push(name);
  }
  const takesNone = (entry: string) =>
    !tree.names.some((name) => name.endsWith(entry) && parametrised(tree, name).length > 0);
  const idle = entries.filter(takesNone);
  if (context.origin === "run") for (const entry of idle) refuse(context, unmatched(tree, path, entry));
  else warnings.push(...toldOf(idle, (entry) => unmatched(tree, path, entry).message));
  const modules = new Set(taken.flatMap((name) => parametrised(tree, name)));
  const inOrder = [...tree.leaves.values()].filter((module) => modules.has(module));
  const saved = inOrder.flatMap((module) =>
    Object.keys(module.parameters).map((parameter) => ({
      module,
      parameter,
      key: wholeKey(module.name, parameter),
    })),
  );
  return { saved, warnings };
}

function parametrised(tree: ModuleTree, name: string): ModuleDescriptor[] {
  return tree.within(name).filter((module) => Object.keys(module.parameters).length > 0);
}

/** Why a module cannot train whole. */
function takingFault(
  tree: ModuleTree,
  name: string,
  entry: string,
  { adapted, taken }: { readonly adapted: ReadonlySet<string>; readonly taken: readonly string[] },
  path: string,
): ConfigError | undefined {
  const clash = [...adapted].find((other) => other === name || other.startsWith(`${name}.`));
  if (clash !== undefined) {
    return new ConfigError(
      "bad-combination",
      `${path}: ${show(entry)} takes ${name}, and LoRA adapts ${clash}: a module is either saved whole or adapted.`,
      "Entries match every name that ends so. Write more of the name, or exclude the module from target_modules.",
    );
  }
  if (tree.isLayerList(name)) {
    return new ConfigError(
      "not-supported",
      `${path}: ${show(entry)} takes ${name}, a list of layers, which PEFT cannot save whole.`,
      "Name the modules inside the layers.",
    );
  }
  const outer = taken.find((other) => name.startsWith(`${other}.`));
  if (outer === undefined) return undefined;
  return new ConfigError(
    "bad-combination",
    `${path} takes both ${outer} and ${name}, which is inside it.`,
    "Entries match every name that ends so. Write more of the name, of the outer or of the inner module.",
  );
}
