/** An adapter to start from, read and compared with what the run file states. */
import { compareWithAdapter } from "../lora/compare.ts";
import { type AdapterFiles, type LoadedAdapter, loadAdapter, readAdapter } from "../lora/readAdapter.ts";
import type { Model } from "../models/model.ts";
import { type AdapterSource, adapterFolder } from "./adapterFolder.ts";
import type { OpenedModel } from "./openModel.ts";
import type { RunConfig } from "./runFile.ts";

export interface OpenedAdapter {
  readonly files: AdapterFiles;
  readonly adapter: LoadedAdapter;
  readonly warnings: readonly string[];
}

/** Throws FormatError, ShapeError or ConfigError where it does not fit the model or the run. */
export async function openAdapter(
  source: AdapterSource,
  { model }: OpenedModel,
  run: RunConfig,
): Promise<OpenedAdapter> {
  const opened = await readAdapter(await adapterFolder(source, model.config));
  const adapter = await fitAdapter(opened, model);
  const given = { config: opened.config, selection: adapter.selection };
  const warnings = compareWithAdapter(run, given, model.modules, model.config.modelType);
  return { files: opened, adapter, warnings: [...adapter.warnings, ...warnings] };
}

/** Reads an adapter's tensors for a model. Throws FormatError, ShapeError or ConfigError where it does not fit. */
export function fitAdapter(files: AdapterFiles, model: Model): Promise<LoadedAdapter> {
  return loadAdapter(files, model.modules, model.config.modelType, (name) => model.stored(name));
}
