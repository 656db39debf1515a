import { ConfigError } from "../base/errors.ts";
import { sameJson, show } from "../base/json.ts";
import { tokensKey } from "./adapterKeys.ts";
import type { LoraConfig } from "./config.ts";
import { refuse, type SelectionContext } from "./matching.ts";
import { type ModuleDescriptor, type ModuleTree, unmatched } from "./modules.ts";
import type { LoraTarget, TokenRows, WholeTensor } from "./selection.ts";

/** The rows that train by trainable_token_indices, as PEFT takes them: a list is for the embedding of tokens. */
export function selectTokens(
  tree: ModuleTree,
  config: LoraConfig,
  others: { readonly lora: readonly LoraTarget[]; readonly saved: readonly WholeTensor[] },
  context: SelectionContext,
): TokenRows[] {
  const given = config.trainable_token_indices;
  if (given === null) return [];
  const path = `${context.path}.trainable_token_indices`;
  const leaves = [...tree.leaves.values()];
  const [table] = leaves.filter(({ kind }) => kind === "embedding");
  const [head] = leaves.filter(({ kind }) => kind === "head");
  const entries: [string, number[]][] = Array.isArray(given) ? [[table!.name, given]] : Object.entries(given);
  const tie = head?.tiedTo === undefined ? undefined : tiedEntries(entries, table!, head);

  if (tie?.differs && config.ensure_weight_tying) refuse(context, differentIndices(path, tie.entries));
  const rows = new Map<ModuleDescriptor, TokenRows>();
  for (const [ending, indices] of entries) {
    // PEFT leaves the head to the embedding where both name the same tokens.
    if (tie && tie.entries.length > 1 && !tie.differs && ending === head!.name) continue;
    const found = leaves.filter(({ name }) => name.endsWith(ending));
    if (found.length === 0) refuse(context, unmatched(tree, path, ending));
    for (const module of found) {
      if (rows.has(module)) continue;
      const fault = tokenFault(module, indices, path);
      if (fault) refuse(context, fault);
      else rows.set(module, { module, indices, key: tokensKey(module.name) });
    }
  }
  const ofTable = rows.get(table!);
  if (tie && !tie.differs && ofTable && !rows.has(head!)) rows.set(head!, { ...ofTable, module: head! });
  for (const one of rows.values()) {
    const fault = togetherFault(one, others, path);
    if (fault) refuse(context, fault);
  }
  return leaves.flatMap((module) => rows.get(module) ?? []);
}

/** Entries that speak of the embedding or of the head that is tied to it. */
function tiedEntries(
  entries: readonly [string, number[]][],
  table: ModuleDescriptor,
  head: ModuleDescriptor,
): { readonly entries: readonly [string, number[]][]; readonly differs: boolean } {
  const tied = entries.filter(([ending]) => table.name.endsWith(ending) || head.name.endsWith(ending));
  return { entries: tied, differs: tied.some(([, indices]) => !sameJson(indices, tied[0]![1])) };
}

function differentIndices(path: string, entries: readonly [string, number[]][]): ConfigError {
  return new ConfigError(
    "bad-combination",
    `${path} names different tokens for what is tied to one table (${show(Object.fromEntries(entries))}), and ensure_weight_tying is true: PEFT refuses it too.`,
    "Name the same tokens, or leave ensure_weight_tying out.",
  );
}

/** Why these rows of a module cannot train by themselves. */
function tokenFault(
  module: ModuleDescriptor,
  indices: readonly number[],
  path: string,
): ConfigError | undefined {
  const { name, kind, parameters } = module;
  if (kind !== "embedding" && kind !== "head") {
    return new ConfigError(
      "not-supported",
      `${path} takes ${name}, which is no embedding: single rows of other modules do not train by themselves here.`,
      "Name the embedding or the output embedding.",
    );
  }
  const [rows] = parameters.weight as [number, number];
  const outside = indices.find((index) => index >= rows);
  if (outside !== undefined) {
    return new ConfigError(
      "bad-value",
      `${path} names row ${outside} of ${name}, which has ${rows} rows, counted from 0.`,
      "Was the run meant for a model with a larger vocabulary?",
    );
  }
  const twice = indices.find((index, i) => indices.indexOf(index) !== i);
  if (twice === undefined) return undefined;
  return new ConfigError(
    "bad-value",
    `${path} names row ${twice} of ${name} twice: which of the two rows would count is left to chance in PEFT.`,
    "Name each once.",
  );
}

/** What does not go together with rows that train by themselves. */
function togetherFault(
  { module, key }: TokenRows,
  { lora, saved }: { readonly lora: readonly LoraTarget[]; readonly saved: readonly WholeTensor[] },
  path: string,
): ConfigError | undefined {
  const isWhole = saved.some((tensor) => tensor.module === module);
  const target = lora.find((one) => one.module === module);
  // LoRA may lie upon a head whose rows are the embedding's.
  const isTied = key !== tokensKey(module.name);
  if (!isWhole && (!target || (isTied && !target.hasMagnitude))) return undefined;
  const other = isWhole ? "modules_to_save" : isTied ? "use_dora" : "target_modules";
  return new ConfigError(
    "bad-combination",
    `${path} and ${other} both take ${module.name}${isTied ? ", whose rows are those of the embedding that it is tied to" : ""}: PEFT cannot train it so.`,
    "Leave the module to one of them.",
  );
}
