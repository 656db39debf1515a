import { FormatError, ShapeError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { show } from "../base/json.ts";
import { DECODED_TYPES, toFloat32OfGgml } from "../formats/ggml.ts";
import type { GgufFile, GgufTensor } from "../formats/gguf.ts";
import { type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { CONFIG_FILE, loraKey, WEIGHTS_FILE } from "./adapterKeys.ts";
import { pythonJson } from "./exportConfig.ts";
import { fromGgufA, fromGgufB, type GgufNames, type GgufWeight, ggufShapes } from "./ggufLayout.ts";

/**
 * A GGUF adapter in PEFT's form: the files of a folder that readAdapter takes, in f32. What an export is read back
 * with, so that the written bytes can be run. Throws FormatError and ShapeError where it is no LoRA adapter of this model.
 */
export async function adapterOfGguf(
  file: GgufFile,
  names: GgufNames,
  label: string,
): Promise<Map<string, Uint8Array>> {
  const alpha = checkedAlpha(file, names, label);
  const ranks: Record<string, number> = {};
  const alphas: Record<string, number> = {};
  const tensors: TensorToWrite[] = [];
  for (const { module, weight, a, b } of pairsOf(file, names, label)) {
    const r = b.shape.at(-1) ?? 0;
    for (const half of [a, b]) checkType(half, label);
    checkShapes(a, b, weight, r, label);
    ranks[module] = r;
    // Without an alpha, llama.cpp scales by 1.
    alphas[module] = alpha || r;
    const values = async (half: GgufTensor) => toFloat32OfGgml(await half.read(), half.type);
    tensors.push(
      entry(keyOf(module, weight, "lora_A"), [r, weight.inFeatures], fromGgufA(await values(a), weight)),
      entry(keyOf(module, weight, "lora_B"), [weight.outFeatures, r], fromGgufB(await values(b), weight, r)),
    );
  }
  const config: JsonObject = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    r: Object.values(ranks)[0]!,
    lora_alpha: Object.values(alphas)[0]!,
    rank_pattern: ranks,
    alpha_pattern: alphas,
    target_modules: Object.keys(ranks),
  };
  return new Map([
    [CONFIG_FILE, new TextEncoder().encode(pythonJson(config))],
    [WEIGHTS_FILE, writeSafetensors(tensors, { format: "pt" })],
  ]);
}

const REMEDY = "Choose a LoRA adapter that was made for this model.";

/** adapter.lora.alpha, or 0 where there is none. */
function checkedAlpha({ metadata }: GgufFile, { architecture }: GgufNames, label: string): number {
  for (const [key, wanted] of [
    ["general.type", "adapter"],
    ["adapter.type", "lora"],
    ["general.architecture", architecture],
  ] as const) {
    const found = metadata.get(key)?.value;
    if (found === wanted) continue;
    const says = found === undefined ? "lacks" : `has ${String(found)} for`;
    throw new FormatError("gguf-adapter", `${label} ${says} ${key}, expected ${show(wanted)}.`, REMEDY);
  }
  const alpha = metadata.get("adapter.lora.alpha") ?? ({ type: "f32", value: 0 } as const);
  if (alpha.type === "f32" && Number.isFinite(alpha.value) && alpha.value >= 0) return alpha.value;
  const found = `${label} has the ${alpha.type} ${String(alpha.value)} for adapter.lora.alpha`;
  throw new FormatError("gguf-adapter", `${found}, expected an f32 of at least 0.`, REMEDY);
}

interface GgufPair {
  readonly module: string;
  readonly weight: GgufWeight;
  readonly a: GgufTensor;
  readonly b: GgufTensor;
}

function pairsOf({ tensors }: GgufFile, names: GgufNames, label: string): GgufPair[] {
  const modules = new Map([...names.weights].map(([module, weight]) => [weight.name, { module, weight }]));
  const pairs: GgufPair[] = [];
  for (const [key, a] of tensors) {
    const [, name = "", half] = /^(.+)\.lora_([ab])$/.exec(key) ?? [];
    const place = modules.get(name);
    const b = tensors.get(`${name}.lora_${half === "a" ? "b" : "a"}`);
    if (!place || !b) {
      const found = place ? "without its other half" : "which belongs to no weight of this model";
      throw new FormatError("gguf-adapter", `${label} holds ${show(key)}, ${found}.`, REMEDY);
    }
    if (half === "a") pairs.push({ ...place, a, b });
  }
  if (pairs.length > 0) return pairs;
  throw new FormatError("gguf-adapter", `${label} holds no pair of lora_a and lora_b.`, REMEDY);
}

function checkType({ name, type }: GgufTensor, label: string): void {
  if (DECODED_TYPES.includes(type)) return;
  const found = `${label}: ${name} is of type ${type}`;
  throw new FormatError("gguf-type", `${found}, expected one of ${DECODED_TYPES.join(", ")}.`, REMEDY);
}

function checkShapes(a: GgufTensor, b: GgufTensor, weight: GgufWeight, r: number, label: string): void {
  const wanted = ggufShapes(weight, r);
  if (r >= 1 && String(a.shape) === String(wanted.a) && String(b.shape) === String(wanted.b)) return;
  throw new ShapeError(
    "shape-mismatch",
    `${label}: ${a.name} and .lora_b are [${a.shape}] and [${b.shape}], expected [${wanted.a}] and [${wanted.b}].`,
    REMEDY,
  );
}

function keyOf(module: string, { isEmbedding }: GgufWeight, half: "lora_A" | "lora_B"): string {
  const key = loraKey(module, half);
  return isEmbedding ? key.replace(/lora_([AB])\.weight$/, "lora_embedding_$1") : key;
}

function entry(name: string, shape: readonly number[], values: Float32Array): TensorToWrite {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, dtype: "F32", shape, bytes };
}
