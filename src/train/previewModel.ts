/** What settings come to on a model of which only config.json is read. */
import type { FileSet } from "../base/bytes.ts";
import type { JsonObject } from "../base/json.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { previewTargets, type TargetPreview } from "../lora/preview.ts";
import { readAdapter } from "../lora/readAdapter.ts";
import { describeModules } from "../models/skeleton.ts";
import { type AdapterSource, adapterFolder } from "./adapterFolder.ts";
import { readModelConfig } from "./openModel.ts";

/** `lora` is that part of a run file; an adapter to start from brings its own settings in its place. */
export async function previewModel(
  model: FileSet,
  lora: JsonObject,
  adapter?: AdapterSource,
): Promise<TargetPreview> {
  const config = await readModelConfig(model);
  const modules = describeModules(config);
  const { modelType } = config;
  if (!adapter) return previewTargets(modules, lora, { modelType, origin: "run", path: "lora" });
  const { given } = await readAdapter(await adapterFolder(adapter, config));
  return previewTargets(modules, given, { modelType, origin: "adapter", path: CONFIG_FILE });
}
