/**
 * An adapter at a strength s, as an adapter of the same base:
 *
 *   LoRA            W + s·scale·B·A, and so the bias of B
 *   whole tensors   W + s·(W′ − W), and so tokens' rows
 *   DoRA            W + s·scale·B·A, its rows of the lengths ‖W‖ + s·(m − ‖W‖)
 *
 * At 0 nothing of it is left, and at 1 its numbers are its own: both to the bit.
 */
import type { StoredTensor } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import { toFloat32 } from "../formats/floats.ts";
import { magnitudeKey } from "./adapterKeys.ts";
import { layerOf } from "./matching.ts";
import type { ModuleDescriptor } from "./modules.ts";
import type { LoadedAdapter } from "./readAdapter.ts";
import { rowNorms, type StoredMatrix } from "./rowNorms.ts";
import type { LoraTarget, TokenRows } from "./selection.ts";

/** What an adapter changes of a base, and its tensors by PEFT's key and in PEFT's orientation. */
export type Adapter = Pick<LoadedAdapter, "selection" | "values">;

export interface AdapterPart {
  readonly adapter: Adapter;
  /** From 0, the base, over 1, as it was trained, to 2. */
  readonly strength: number;
  /** Numbers of layers that it leaves as they are. */
  readonly layersOff: ReadonlySet<number>;
  /** So it does with whatever lies in no layer: embeddings, the last norm, the head. */
  readonly isRestOff?: boolean | undefined;
}

/** The base's parameters, as its checkpoint stores them. */
export interface BaseParameters {
  tensor(module: string, parameter: string): StoredTensor;
  matrix(module: string): Promise<StoredMatrix>;
}

export const MAX_STRENGTH = 2;

export async function scaledAdapter(part: AdapterPart, base: BaseParameters): Promise<Adapter> {
  const { strength: s, layersOff, isRestOff = false } = part;
  const { selection, values } = part.adapter;
  if (!(s >= 0 && s <= MAX_STRENGTH)) {
    throw new ConfigError("strength", `The strength of an adapter is ${s}, expected 0 to ${MAX_STRENGTH}.`);
  }
  const isOn = ({ module }: { readonly module: ModuleDescriptor }): boolean => {
    const layer = layerOf(module.name);
    return s > 0 && !(layer === undefined ? isRestOff : layersOff.has(layer));
  };
  const lora = selection.lora
    .filter(isOn)
    .map((target): LoraTarget => ({ ...target, scale: s * target.scale }));
  const whole = selection.whole.filter(isOn);
  const tokens = selection.tokens.filter(isOn);
  const scaled = new Map(values);
  if (s !== 1) {
    const blend = (key: string, before: Float32Array): void => {
      scaled.set(key, blended(before, values.get(key)!, s));
    };
    for (const { module, hasMagnitude } of lora)
      if (hasMagnitude) blend(magnitudeKey(module.name), rowNorms(await base.matrix(module.name)));
    for (const { module, parameter, key } of whole)
      blend(key, await baseValues(base, module.name, parameter));
    for (const rows of tokens) blend(rows.key, await baseRows(base, rows));
  }
  return { selection: { ...selection, lora, whole, tokens }, values: scaled };
}

/** before + s·(after − before), rounded once. */
function blended(before: Float32Array, after: Float32Array, s: number): Float32Array {
  return before.map((value, i) => value + s * (after[i]! - value));
}

export async function baseValues(
  base: Pick<BaseParameters, "tensor">,
  module: string,
  parameter: string,
): Promise<Float32Array> {
  const tensor = base.tensor(module, parameter);
  return toFloat32(await tensor.read(), tensor.dtype);
}

/** The rows of a module's weight that others replace: [indices, width]. */
export async function baseRows(
  base: Pick<BaseParameters, "tensor">,
  { module, indices }: TokenRows,
): Promise<Float32Array> {
  const tensor = base.tensor(module.name, "weight");
  const [count, width] = tensor.shape as [number, number];
  const rowBytes = tensor.byteLength / count;
  const rows = new Float32Array(indices.length * width);
  for (const [i, index] of indices.entries()) {
    const bytes = await tensor.read(index * rowBytes, (index + 1) * rowBytes);
    rows.set(toFloat32(bytes, tensor.dtype), i * width);
  }
  return rows;
}
