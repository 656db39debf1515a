/** An adapter to start from, read and compared with what the run file states. */
import type { FileSet } from "../base/bytes.ts";
import { compareWithAdapter } from "../lora/compare.ts";
import { type AdapterFiles, type LoadedAdapter, loadAdapter, readAdapter } from "../lora/readAdapter.ts";
import type { OpenedModel } from "./openModel.ts";
import type { RunConfig } from "./runFile.ts";

export interface OpenedAdapter {
  readonly files: AdapterFiles;
  readonly adapter: LoadedAdapter;
  readonly warnings: readonly string[];
}

/** Throws FormatError or ConfigError where it does not fit the model or the run. */
export async function openAdapter(
  files: FileSet,
  { model }: OpenedModel,
  run: RunConfig,
): Promise<OpenedAdapter> {
  const opened = await readAdapter(files);
  const { modelType } = model.config;
  const adapter = await loadAdapter(opened, model.modules, modelType, (name) => model.stored(name));
  const given = { config: opened.config, selection: adapter.selection };
  const warnings = compareWithAdapter(run, given, model.modules, modelType);
  return { files: opened, adapter, warnings: [...adapter.warnings, ...warnings] };
}
