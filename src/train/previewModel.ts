/** What settings come to on a model of which only config.json is read. */
import type { FileSet } from "../base/bytes.ts";
import type { JsonObject } from "../base/json.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { previewTargets, type TargetPreview } from "../lora/preview.ts";
import { readAdapter } from "../lora/readAdapter.ts";
import { Model } from "../models/model.ts";
import { type AdapterSource, adapterFolder } from "./adapterFolder.ts";
import { readModelConfig } from "./openModel.ts";

/** The settings of a run file that say what trains. */
export interface PreviewedSettings {
  /** Its `lora`; an adapter to start from brings its own settings in its place. */
  readonly lora: JsonObject;
  /** Its `train.requires_grad`. */
  readonly requires_grad: readonly string[] | null;
}

export async function previewModel(
  files: FileSet,
  { lora, requires_grad }: PreviewedSettings,
  adapter?: AdapterSource,
): Promise<TargetPreview> {
  const config = await readModelConfig(files);
  const { modelType } = config;
  const model = new Model(config, new Map());
  const requiresGrad = requires_grad
    ? { patterns: requires_grad, parameters: model.namedParameters() }
    : undefined;
  if (!adapter) {
    const context = { modelType, origin: "run", path: "lora" } as const;
    return previewTargets(model.modules, lora, context, requiresGrad);
  }
  const { given } = await readAdapter(await adapterFolder(adapter, config));
  const context = { modelType, origin: "adapter", path: CONFIG_FILE } as const;
  return previewTargets(model.modules, given, context, requiresGrad);
}
