/** A whole model's GGUF file as the engine reads checkpoints: what is written is run again from its own bytes. */
import type { StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { toFloat32OfGgml } from "../formats/ggml.ts";
import type { GgufFile, GgufTensor } from "../formats/gguf.ts";
import { unpairRows } from "../lora/ggufLayout.ts";
import type { ModuleDescriptor } from "../lora/modules.ts";
import { transpose } from "./frozen.ts";
import { type GgufModule, ggufModules } from "./ggufNames.ts";
import { frequencyDivisors, ggufSettings } from "./ggufSettings.ts";
import { Model } from "./model.ts";
import type { ModelConfig } from "./modelConfig.ts";
import { describeModules, modelNames } from "./skeleton.ts";

/**
 * The model of a file that was written for `config`, whether or not its head is the embedding still. Throws FormatError
 * where the file's settings are others, and where a tensor is missing or of another shape.
 */
export async function modelOfGguf(file: GgufFile, config: ModelConfig, label: string): Promise<Model> {
  checkSettings(file, config, label);
  await checkDivisors(file, config, label);
  const { head } = modelNames(config);
  const places = ggufModules(config);
  const tied = !file.tensors.has(`${places.get(head)!.name}.weight`);
  const tensors = new Map<string, StoredTensor>();
  for (const module of describeModules(config)) {
    const place = places.get(module.name);
    if (!place || (module.name === head && tied)) continue;
    for (const parameter of Object.keys(module.parameters)) {
      const found = file.tensors.get(`${place.name}.${parameter}`);
      if (!found) throw new FormatError("gguf-model", `${label} lacks ${place.name}.${parameter}.`);
      const tensor = storedTensor(module, parameter, place, found, label);
      tensors.set(tensor.name, tensor);
    }
  }
  return new Model({ ...config, tied }, tensors);
}

function checkSettings({ metadata }: GgufFile, config: ModelConfig, label: string): void {
  for (const [key, wanted] of ggufSettings(config)) {
    const found = metadata.get(key);
    // What is written as f32 comes back as the number that f32 holds.
    const value = wanted.type === "f32" ? Math.fround(wanted.value) : wanted.value;
    if (found?.type === wanted.type && found.value === value) continue;
    const words = found ? `has ${found.type} ${show(String(found.value))} for` : "lacks";
    throw new FormatError(
      "gguf-model",
      `${label} ${words} ${key}, expected ${wanted.type} ${String(value)}.`,
    );
  }
}

async function checkDivisors({ tensors }: GgufFile, config: ModelConfig, label: string): Promise<void> {
  const wanted = frequencyDivisors(config);
  const found = tensors.get("rope_freqs.weight");
  const values = found && toFloat32OfGgml(await found.read(), found.type);
  if (String(values) === String(wanted)) return;
  throw new FormatError("gguf-model", `${label} has other rope_freqs.weight than its model.`);
}

/** Halves stay halves where their rows lie as the engine wants them; all else is decoded. */
function storedTensor(
  { name, kind, parameters }: ModuleDescriptor,
  parameter: string,
  { pairedHeads }: GgufModule,
  tensor: GgufTensor,
  label: string,
): StoredTensor {
  const shape = parameters[parameter]!;
  const isTurned = kind === "conv1d" && parameter === "weight";
  const wanted = isTurned ? [...shape].reverse() : shape;
  if (String(tensor.shape) !== String(wanted)) {
    const found = `${label}: ${tensor.name} is [${tensor.shape}], expected [${wanted}].`;
    throw new FormatError("gguf-model", found);
  }
  const isPlain = tensor.type === "F16" && !isTurned && pairedHeads === undefined;
  const decoded = async (): Promise<Uint8Array> => {
    const bytes = await tensor.read();
    if (isPlain) return bytes;
    const values = toFloat32OfGgml(bytes, tensor.type);
    const width = shape[1] ?? 1;
    const rows = pairedHeads === undefined ? values : unpairRows(values, pairedHeads, width);
    const lying = new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength);
    return isTurned ? transpose(lying, wanted as [number, number]) : lying;
  };
  const elements = shape.reduce((product, size) => product * size, 1);
  return {
    ...{ name: `${name}.${parameter}`, dtype: isPlain ? "F16" : "F32", shape },
    byteLength: (isPlain ? 2 : 4) * elements,
    read: async (start, end) => (await decoded()).subarray(start, end),
  };
}
