import type { ModuleDescriptor } from "./modules.ts";
import type { Selection, WholeTensor } from "./selection.ts";

/** PEFT wraps the model twice, and its adapter files show it. */
const PREFIX = "base_model.model.";

export const CONFIG_FILE = "adapter_config.json";
export const WEIGHTS_FILE = "adapter_model.safetensors";

type AddedPart = "lora_A" | "lora_B" | "lora_bias" | "magnitude" | "tokens";

/**
 * A tensor of an adapter file: part of what LoRA adds to a module, rows of its weight that train by themselves, or a
 * parameter of the base model that trains.
 */
export type AdapterEntry = {
  readonly key: string;
  readonly shape: readonly number[];
  readonly module: string;
} & ({ readonly part: AddedPart } | { readonly part: "parameter"; readonly parameter: string });

/** An embedding's halves are plain parameters in PEFT, without a layer around them. */
export function loraKey(
  module: string,
  half: "lora_A" | "lora_B",
  kind: ModuleDescriptor["kind"] = "linear",
): string {
  const tail = kind === "embedding" ? half.replace("lora_", "lora_embedding_") : `${half}.weight`;
  return `${PREFIX}${module}.${tail}`;
}

/**
 * The key as save_pretrained writes it. Files made of a model's whole state, as some training tools do, have the adapter's
 * name in it, and PEFT reads them where that is its default.
 */
export function savedKey(key: string): string {
  return key
    .replace(/(\.lora_(?:(?:embedding_)?[AB]|magnitude_vector))\.default(\.weight|\.bias)?$/, "$1$2")
    .replace(/(\.lora_magnitude_vector)\.weight$/, "$1");
}

/** The key of the other half of a pair, or undefined where a key is no half's. */
export function otherHalf(key: string): string | undefined {
  const match = /^(.*\.lora_(?:embedding_)?)([AB])((?:\.weight)?)$/.exec(key);
  return match ? `${match[1]}${match[2] === "A" ? "B" : "A"}${match[3]}` : undefined;
}

/** The second pair of a module, beside the one that trains: what that began as, B's negated. No file holds it. */
export function startKey(module: string, half: "lora_A" | "lora_B"): string {
  return `start of ${loraKey(module, half)}`;
}

/** The bias of a module's B. */
export function loraBiasKey(module: string): string {
  return `${PREFIX}${module}.lora_B.bias`;
}

/** DoRA's magnitudes of a module's rows. */
export function magnitudeKey(module: string): string {
  return `${PREFIX}${module}.lora_magnitude_vector`;
}

/** A parameter of the base model that trains. Where LoRA adapts its module, PEFT's layer is wrapped around it. */
export function wholeKey(module: string, parameter: string, adapted = false): string {
  return `${PREFIX}${module}.${adapted ? "base_layer." : ""}${parameter}`;
}

/** Rows of an embedding or of the head that train by themselves. */
export function tokensKey(module: string): string {
  return `${PREFIX}${module}.token_adapter.trainable_tokens_delta`;
}

/** Every tensor that an adapter with this selection trains, by PEFT's name, in the order of the model. */
export function adapterEntries(selection: Pick<Selection, "lora" | "whole" | "tokens">): AdapterEntry[] {
  const added = selection.lora.flatMap((target): AdapterEntry[] => {
    const { module, r, hasBias, hasMagnitude } = target;
    const { name, kind, inFeatures, outFeatures } = module;
    const entry = (key: string, part: AddedPart, ...shape: number[]) => ({ key, part, module: name, shape });
    return [
      entry(loraKey(name, "lora_A", kind), "lora_A", r, inFeatures),
      entry(loraKey(name, "lora_B", kind), "lora_B", outFeatures, r),
      ...(hasBias ? [entry(loraBiasKey(name), "lora_bias", outFeatures)] : []),
      ...(hasMagnitude ? [entry(magnitudeKey(name), "magnitude", outFeatures)] : []),
    ];
  });
  const whole = selection.whole.filter(({ tiedTo }) => tiedTo === undefined).map(wholeEntry);
  const tokens = selection.tokens
    .filter(({ module, key }) => key === tokensKey(module.name))
    .map(({ module, indices, key }): AdapterEntry => {
      const { name, parameters } = module;
      return { key, part: "tokens", module: name, shape: [indices.length, parameters.weight![1]!] };
    });
  return [...added, ...whole, ...tokens];
}

function wholeEntry({ key, parameter, module }: WholeTensor): AdapterEntry {
  const shape = module.parameters[parameter]!;
  return { key, part: "parameter", parameter, module: module.name, shape };
}

/** What an adapter file holds, and under which key each value trains: PEFT saves a tied table under two names. */
export function fileEntries(
  selection: Pick<Selection, "lora" | "whole" | "tokens">,
): (AdapterEntry & { readonly trainedKey: string })[] {
  const own = adapterEntries(selection).map((entry) => ({ ...entry, trainedKey: entry.key }));
  const tied = selection.whole.flatMap((tensor) =>
    tensor.tiedTo === undefined ? [] : [{ ...wholeEntry(tensor), trainedKey: tensor.tiedTo }],
  );
  return [...own, ...tied];
}

/**
 * A parameter of the base model under its own name, or below the layers that PEFT has put around its module, as PEFT
 * writes copies of `lm_head` and `embed_tokens` along: the module's name and the parameter's, or undefined for any
 * other key.
 */
export function baseParameterOf(key: string): { module: string; name: string; isBelow: boolean } | undefined {
  const match =
    /^base_model\.model\.(.+?)((?:\.base_layer|\.original_module|\.token_adapter)*)\.(weight|bias)$/.exec(
      key,
    );
  if (!match) return undefined;
  const [, module = "", below, parameter] = match;
  return { module, name: `${module}.${parameter}`, isBelow: below !== "" };
}

/**
 * The module of a tensor that trained, where `save_embedding_layers` has written it once more under the name that it has
 * within PEFT: what PEFT reads of these holds the same values. Undefined for any other key.
 */
export function writtenTwice(key: string): string | undefined {
  const ending =
    /\.(?:modules_to_save\.(?:weight|bias)|(?:base_layer\.)?token_adapter\.trainable_tokens_delta|lora_magnitude_vector\.weight)$/;
  return key.startsWith(PREFIX) && ending.test(key)
    ? key.slice(PREFIX.length).replace(ending, "")
    : undefined;
}
