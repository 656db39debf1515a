import { readdirSync, readFileSync } from "node:fs";
import type { FileSet } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";
import { parseAdapterConfig, parseLoraConfig } from "../../src/lora/config.ts";
import type { ModuleDescriptor } from "../../src/lora/modules.ts";
import type { Selection } from "../../src/lora/selection.ts";
import { selectModules } from "../../src/lora/targets.ts";

/** An adapter folder that PEFT wrote (reference/adapter_dump.py). */
export interface AdapterCase {
  model_type: string;
  config: JsonObject;
  modules: ModuleDescriptor[];
  files: Map<string, Uint8Array>;
}

const folder = new URL("fixtures/adapters/", import.meta.url);

export const ADAPTER_NAMES = readdirSync(folder).sort();

export function adapterCase(name: string): AdapterCase {
  const read = (file: string) => new Uint8Array(readFileSync(new URL(`${name}/${file}`, folder)));
  const about = JSON.parse(new TextDecoder().decode(read("case.json"))) as Omit<AdapterCase, "files">;
  const files = ["adapter_config.json", "adapter_model.safetensors", "base.safetensors"];
  return { ...about, files: new Map(files.map((file) => [file, read(file)])) };
}

export function fileSet(files: Map<string, Uint8Array>): FileSet {
  return mapFileSet("adapter", new Map([...files].map(([name, bytes]) => [name, arraySource(bytes, name)])));
}

/** Twelve Llama layers, two of Qwen 3, two of GPT-2, as PyTorch names their modules (reference/targets_dump.py). */
export const MODELS = (
  JSON.parse(readFileSync(new URL("fixtures/targets.json", import.meta.url), "utf8")) as {
    models: Record<"llama" | "qwen3" | "gpt2", ModuleDescriptor[]>;
  }
).models;

/** What a new run chooses on one of those models. */
export function runOn(model: keyof typeof MODELS, lora: JsonObject): Selection {
  const { config } = parseLoraConfig(lora);
  return selectModules(MODELS[model], config, { modelType: model, origin: "run", path: "lora" });
}

/** What a loaded adapter chooses. */
export function adapterOn(model: keyof typeof MODELS, lora: JsonObject): Selection {
  const { config } = parseAdapterConfig({ peft_type: "LORA", ...lora });
  return selectModules(MODELS[model], config, {
    modelType: model,
    origin: "adapter",
    path: "adapter_config.json",
  });
}
