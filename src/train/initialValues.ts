/** Trainable tensors between files and engine: where a run starts from, and how the end is written. */
import type { StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import {
  type AdapterEntry,
  adapterEntries,
  loraBiasKey,
  loraKey,
  magnitudeKey,
} from "../lora/adapterKeys.ts";
import { initialStart } from "../lora/init.ts";
import type { LoadedAdapter } from "../lora/readAdapter.ts";
import { rowNorms } from "../lora/rowNorms.ts";
import { type Adapter, baseRows, baseValues } from "../lora/strength.ts";
import type { Selection } from "../lora/targets.ts";
import { transpose } from "../models/frozen.ts";
import type { Model } from "../models/transformer.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import type { RunConfig } from "./runFile.ts";

/** Every trainable tensor as it is now, by PEFT's key and in PEFT's orientation. */
export async function trainedValues(adapted: AdaptedModel): Promise<Map<string, Float32Array>> {
  const { model, selection } = adapted;
  const values = new Map<string, Float32Array>();
  for (const entry of adapterEntries(selection)) {
    const engine = await adapted.read(entry.key);
    values.set(entry.key, turned(model, entry) ? turnBack(engine, entry.shape) : engine);
  }
  return values;
}

/**
 * What an adapter's file holds beside what trains: copies of base parameters that a loaded adapter brought along, and
 * what `requires_grad` leaves frozen of modules that the file holds whole.
 */
export function tensorsBeside(
  model: Model,
  { whole, requiresGrad }: Selection,
  brought: readonly StoredTensor[],
): StoredTensor[] {
  const { beside } = requiresGrad ?? { beside: [] };
  const own = new Set([...whole, ...beside].map(({ key }) => key));
  const frozen = beside.map(({ module, parameter, key }): StoredTensor => {
    const tensor = model.tensor(module.name, parameter);
    return { ...tensor, name: key, read: (start, end) => tensor.read(start, end) };
  });
  return [...brought.filter(({ name }) => !own.has(name)), ...frozen];
}

/** Conv1D's weight lies as [in, out] in files and as [out, in] in the engine. */
function turned(model: Model, entry: AdapterEntry): boolean {
  return (
    entry.part === "parameter" && entry.parameter === "weight" && model.module(entry.module).kind === "conv1d"
  );
}

/** [in, out] from the engine's [out, in]. */
function turnBack(values: Float32Array, [inFeatures, outFeatures]: readonly number[]): Float32Array {
  return floats(transpose(bytesOf(values), [outFeatures!, inFeatures!]));
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

/** Starting values, in the engine's orientation: of the adapter, or fresh halves and copies of the base. */
export async function initialValues(
  model: Model,
  selection: Selection,
  run: RunConfig,
  loaded: LoadedAdapter | undefined,
): Promise<Map<string, Float32Array>> {
  const initial = new Map<string, Float32Array>();
  for (const target of loaded ? [] : selection.lora) {
    const { name, kind } = target.module;
    const { a, b, bias } = initialStart(target, run.lora.init_lora_weights, run.train.seed);
    initial.set(loraKey(name, "lora_A", kind), a);
    initial.set(loraKey(name, "lora_B", kind), b);
    if (bias) initial.set(loraBiasKey(name), bias);
    if (target.hasMagnitude) {
      initial.set(magnitudeKey(name), rowNorms(await model.matrix(name), { a, b, scale: target.scale }));
    }
  }
  for (const entry of adapterEntries(selection)) {
    if (initial.has(entry.key)) continue;
    const values = loaded?.values.get(entry.key) ?? (await valuesOfBase(model, selection, entry));
    if (!values) throw new FormatError("tensor-missing", `The adapter has no "${entry.key}".`);
    initial.set(entry.key, toEngine(model, entry, values));
  }
  return initial;
}

/** An adapter's values in the engine's orientation. */
export function engineValues(model: Model, { selection, values }: Adapter): Map<string, Float32Array> {
  return new Map(
    adapterEntries(selection).map((entry) => [entry.key, toEngine(model, entry, values.get(entry.key)!)]),
  );
}

function toEngine(model: Model, entry: AdapterEntry, values: Float32Array): Float32Array {
  const shape = entry.shape as [number, number];
  return turned(model, entry) ? floats(transpose(bytesOf(values), shape)) : values;
}

/** What a tensor starts from that replaces one of the base model's, or rows of one. */
async function valuesOfBase(
  model: Model,
  selection: Selection,
  entry: AdapterEntry,
): Promise<Float32Array | undefined> {
  if (entry.part === "parameter") return baseValues(model, entry.module, entry.parameter);
  const rows = selection.tokens.find(({ key }) => key === entry.key);
  return rows && baseRows(model, rows);
}
