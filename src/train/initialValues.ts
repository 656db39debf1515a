/** Trainable tensors between files and engine: where a run starts from, and how the end is written. */
import type { StoredTensor } from "../base/bytes.ts";
import { ConfigError, FormatError } from "../base/errors.ts";
import {
  type AdapterEntry,
  adapterEntries,
  fileEntries,
  loraBiasKey,
  loraKey,
  magnitudeKey,
  startKey,
} from "../lora/adapterKeys.ts";
import { baseStart } from "../lora/baseStart.ts";
import { initialStart, type LoraStart } from "../lora/init.ts";
import type { LoadedAdapter } from "../lora/readAdapter.ts";
import { rowNorms } from "../lora/rowNorms.ts";
import type { LoraTarget, Selection } from "../lora/selection.ts";
import { type Adapter, baseRows, baseValues } from "../lora/strength.ts";
import { transposed } from "../lora/transposed.ts";
import { transpose } from "../models/frozen.ts";
import type { Model } from "../models/model.ts";
import type { AdaptedModel, StartingValues } from "./adaptedModel.ts";
import type { RunConfig } from "./runFile.ts";

/** Every trainable tensor as it is now, by PEFT's key and in PEFT's orientation, and what began as a part of the base. */
export async function trainedValues(adapted: AdaptedModel): Promise<Map<string, Float32Array>> {
  const { model, selection } = adapted;
  const values = new Map<string, Float32Array>();
  for (const entry of fileEntries(selection)) {
    const engine = await adapted.read(entry.trainedKey);
    values.set(entry.key, turned(model, entry) ? turnBack(engine, entry.shape) : engine);
  }
  for (const key of adapted.layout.constants.keys()) values.set(key, await adapted.read(key));
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

/** Those of the adapter, or fresh halves and copies of the base. */
export function initialValues(
  model: Model,
  selection: Selection,
  run: RunConfig,
  loaded: LoadedAdapter | undefined,
): StartingValues {
  const initial = new Map<string, Float32Array>();
  const ofBase = selection.lora.filter(({ fromBase }) => fromBase !== null);
  return {
    compute: async (onProgress, isStopped) => {
      for (const [i, target] of ofBase.entries()) {
        if (isStopped?.()) return undefined;
        onProgress?.(i, ofBase.length);
        if (!initial.has(startKey(target.module.name, "lora_A"))) await startFromBase(target);
      }
      if (!loaded) for (const [target, begun] of startsOf(selection, run)) await start(target, begun);
      for (const entry of adapterEntries(selection)) if (!initial.has(entry.key)) await take(entry);
      return initial;
    },
  };

  async function startFromBase(target: LoraTarget): Promise<void> {
    if (loaded) {
      setStart(initial, target, await startOfLoaded(model, target));
      return;
    }
    const { name } = target.module;
    const matrix = await model.matrix(name);
    const begun = baseStart(matrix, target, run.train.seed);
    setStart(initial, target, begun);
    setHalves(target, begun);
    // What was taken out of W is put back by A and B: the rows are as long as W's.
    if (target.hasMagnitude) initial.set(magnitudeKey(name), rowNorms(matrix));
  }

  async function start(target: LoraTarget, begun: LoraStart): Promise<void> {
    const { name } = target.module;
    setHalves(target, begun);
    if (begun.bias) initial.set(loraBiasKey(name), begun.bias);
    if (target.hasMagnitude) {
      initial.set(magnitudeKey(name), rowNorms(await model.matrix(name), { ...begun, scale: target.scale }));
    }
  }

  function setHalves({ module: { name, kind } }: LoraTarget, { a, b }: LoraStart): void {
    initial.set(loraKey(name, "lora_A", kind), a);
    initial.set(loraKey(name, "lora_B", kind), b);
  }

  async function take(entry: AdapterEntry): Promise<void> {
    const values = loaded?.values.get(entry.key) ?? (await valuesOfBase(model, selection, entry));
    if (!values) throw new FormatError("tensor-missing", `The adapter has no "${entry.key}".`);
    initial.set(entry.key, toEngine(model, entry, values));
  }
}

/**
 * What modules draw to begin with, those that begin from the base aside. The factors of a tied head decide, unless PEFT
 * lets all stay as they are drawn.
 */
function startsOf({ lora }: Selection, { lora: { init_lora_weights: init }, train }: RunConfig) {
  const drawn = lora.filter(({ fromBase }) => fromBase === null);
  const starts = new Map(drawn.map((target) => [target.module, initialStart(target, init, train.seed)]));
  const turnedStart = ({ module, r }: LoraTarget): LoraStart => {
    const { a, b } = starts.get(module)!;
    return { a: transposed(b, module.outFeatures), b: transposed(a, r) };
  };
  for (const head of drawn) {
    const table = drawn.find(({ module }) => module === head.tiedTo);
    if (!table) continue;
    if (init === false) starts.set(head.module, turnedStart(table));
    else starts.set(table.module, turnedStart(head));
  }
  return drawn.map((target) => [target, starts.get(target.module)!] as const);
}

/** Takes in what a module began as, as the second pair of its low-rank path wants it. */
export function setStart(
  values: Map<string, Float32Array>,
  { module: { name } }: LoraTarget,
  { a, b }: LoraStart,
): void {
  values.set(startKey(name, "lora_A"), a);
  values.set(
    startKey(name, "lora_B"),
    b.map((value) => -value),
  );
}

/** What a module of an adapter that is loaded began as, found again in the base. */
export async function startOfLoaded(model: Model, target: LoraTarget): Promise<LoraStart> {
  const { name, kind } = target.module;
  if (kind === "head" && model.config.tied) {
    throw new ConfigError(
      "start-unknown",
      `init_lora_weights is "${target.fromBase}", and the adapter has ${name}, which is the embedding too: PEFT takes the start out of both, so it was trained on another embedding than the base's.`,
      "Convert it to plain LoRA where it was trained: PEFT's save_pretrained takes path_initial_model_for_weight_conversion.",
    );
  }
  // A start that depends on the seed is refused before.
  return baseStart(await model.matrix(name), target, 0);
}

/** Those of an adapter, and what it began as where that is a part of the base. */
export function engineValues(model: Model, { selection, values }: Adapter): StartingValues {
  const initial = new Map(
    adapterEntries(selection).map((entry) => [entry.key, toEngine(model, entry, values.get(entry.key)!)]),
  );
  for (const { module, fromBase } of selection.lora) {
    const keys = fromBase === null ? [] : (["lora_A", "lora_B"] as const);
    for (const half of keys) {
      const key = startKey(module.name, half);
      initial.set(key, values.get(key)!);
    }
  }
  return { compute: async () => initial };
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
