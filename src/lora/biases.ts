import { show } from "../base/json.ts";
import { wholeKey } from "./adapterKeys.ts";
import type { LoraConfig } from "./config.ts";
import type { ModuleDescriptor, ModuleTree } from "./modules.ts";
import type { LoraTarget, WholeTensor } from "./selection.ts";

/**
 * The biases of the base model that train by `bias`, as PEFT takes them: all, norms' too, or those of adapted modules.
 * One that modules_to_save takes trains there. (PEFT writes it twice more, under names that it does not read.)
 */
export function selectBiases(
  tree: ModuleTree,
  { bias }: LoraConfig,
  { adapted, saved }: { readonly adapted: ReadonlySet<string>; readonly saved: readonly WholeTensor[] },
): WholeTensor[] {
  if (bias === "none") return [];
  const biased = [...tree.leaves.values()].filter(({ parameters }) => parameters.bias !== undefined);
  const ofModule = (module: ModuleDescriptor): WholeTensor => {
    const key = wholeKey(module.name, "bias", adapted.has(module.name));
    return { module, parameter: "bias", key };
  };
  if (bias === "lora_only") return biased.filter(({ name }) => adapted.has(name)).map(ofModule);
  const savedModules = new Set(saved.map(({ module }) => module));
  return biased.filter((module) => !savedModules.has(module)).map(ofModule);
}

/** What PEFT lets pass: biases that are asked for and not there, and such as cannot be merged. */
export function biasWarnings(
  lora: readonly LoraTarget[],
  biasCount: number,
  { bias }: LoraConfig,
  path: string,
): string[] {
  const warnings: string[] = [];
  if (bias !== "none" && biasCount === 0) {
    warnings.push(
      `${path}.bias is ${show(bias)}, but ${bias === "all" ? "no module" : "no adapted module"} has a bias.`,
    );
  }
  const unmergeable = lora.filter(({ module, hasBias }) => hasBias && module.parameters.bias === undefined);
  if (unmergeable.length > 0) {
    warnings.push(
      `${path}.lora_bias is true, but ${unmergeable[0]!.module.name}${
        unmergeable.length > 1 ? ` and ${unmergeable.length - 1} more have` : " has"
      } no bias in the base model: such an adapter cannot be merged.`,
    );
  }
  return warnings;
}
