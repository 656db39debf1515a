import type { Selection } from "./targets.ts";

/** PEFT wraps the model twice, and its adapter files show it. */
const PREFIX = "base_model.model.";

export const CONFIG_FILE = "adapter_config.json";
export const WEIGHTS_FILE = "adapter_model.safetensors";

/** A tensor of an adapter file: half of a LoRA pair, or a parameter of a module that is saved whole. */
export type AdapterEntry = {
  readonly key: string;
  readonly shape: readonly number[];
  readonly module: string;
} & ({ readonly part: "lora_A" | "lora_B" } | { readonly part: "parameter"; readonly parameter: string });

export function loraKey(module: string, half: "lora_A" | "lora_B"): string {
  return `${PREFIX}${module}.${half}.weight`;
}

export function savedKey(module: string, parameter: string): string {
  return `${PREFIX}${module}.${parameter}`;
}

/** Every tensor that an adapter with this selection holds, by PEFT's name, in the order of the model. */
export function adapterEntries(selection: Pick<Selection, "lora" | "saved">): AdapterEntry[] {
  const halves = selection.lora.flatMap(({ module, r }): AdapterEntry[] => [
    {
      key: loraKey(module.name, "lora_A"),
      part: "lora_A",
      module: module.name,
      shape: [r, module.inFeatures],
    },
    {
      key: loraKey(module.name, "lora_B"),
      part: "lora_B",
      module: module.name,
      shape: [module.outFeatures, r],
    },
  ]);
  const parameters = selection.saved.flatMap((module) =>
    Object.entries(module.parameters).map(
      ([parameter, shape]): AdapterEntry => ({
        key: savedKey(module.name, parameter),
        part: "parameter",
        parameter,
        module: module.name,
        shape,
      }),
    ),
  );
  return [...halves, ...parameters];
}

/**
 * A parameter of the base model under an adapted module, as PEFT writes it for `lm_head` and `embed_tokens`:
 * the parameter's name in the base model, or undefined for any other key.
 */
export function baseParameterOf(key: string): { module: string; name: string } | undefined {
  const match = /^base_model\.model\.(.+)\.base_layer\.(weight|bias)$/.exec(key);
  return match ? { module: match[1]!, name: `${match[1]}.${match[2]}` } : undefined;
}
