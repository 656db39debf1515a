/** A base with an adapter merged into it: what every form of it is written from. */
import { FormatError } from "../base/errors.ts";
import { type Json, sameJson } from "../base/json.ts";
import { mergedTensors, type RowTensor, storedTensor } from "../lora/merge.ts";
import type { ModuleDescriptor } from "../lora/modules.ts";
import type { LoadedAdapter } from "../lora/readAdapter.ts";
import type { Model } from "./model.ts";
import { modelNames } from "./skeleton.ts";

export interface MergedModel {
  /** The tensors that the adapter has made others, by Transformers' names; a head that is no longer the embedding too. */
  readonly changed: ReadonlyMap<string, RowTensor>;
  /** Whether the head's weight is still the embedding's. */
  readonly tied: boolean;
}

/**
 * Where head and embedding are one tensor, an adapter of one of them parts the two: the other stays as it was. PEFT's
 * merge_and_unload() adds to both, and is then another model than base and adapter were.
 */
export function mergedModel(model: Model, adapter: LoadedAdapter): MergedModel {
  const changed = mergedTensors(adapter, (module, parameter) => model.tensor(module, parameter));
  const { embedding, head } = modelNames(model.config);
  if (!model.config.tied) return { changed, tied: false };
  const output = `${head}.weight`;
  if (sameJson(trainedFor(adapter.selection, head), trainedFor(adapter.selection, embedding))) {
    changed.delete(output);
    return { changed, tied: true };
  }
  if (!changed.has(output)) changed.set(output, storedTensor(model.tensor(head, "weight")));
  return { changed, tied: false };
}

/** What makes a module's weight another: the same for two modules that stay one. DoRA's lengths are never shared. */
function trainedFor({ lora, whole, tokens }: LoadedAdapter["selection"], name: string): Json {
  const isOf = ({ module }: { readonly module: ModuleDescriptor }) => module.name === name;
  return [
    lora
      .filter(isOf)
      .map(({ tiedTo, scale, hasMagnitude }) => [tiedTo?.name ?? name, scale, hasMagnitude && name]),
    whole.filter(isOf).map(({ key, tiedTo }) => tiedTo ?? key),
    tokens.filter(isOf).map(({ key }) => key),
  ];
}

/** The first size that f16 rounds to infinity. */
const F16_END = 65520;

/** Throws FormatError where a value is too large for f16. */
export function checkHalves(name: string, values: Float32Array, remedy: string): void {
  const bad = values.find((value) => Math.abs(value) >= F16_END);
  if (bad === undefined) return;
  throw new FormatError("f16-range", `${name} holds ${bad}, and f16 ends at 65504.`, remedy);
}
