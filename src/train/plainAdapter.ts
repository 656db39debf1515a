/** An adapter for all who do not train it: on the untouched base, whatever it began as. */
import { bytesFileSet } from "../formats/sources.ts";
import { reexportConfig } from "../lora/exportConfig.ts";
import { plainLora } from "../lora/plainLora.ts";
import { type AdapterFiles, type LoadedAdapter, readAdapter } from "../lora/readAdapter.ts";
import { writeAdapter } from "../lora/writeAdapter.ts";
import type { Model } from "../models/model.ts";
import { setStart, startOfLoaded } from "./initialValues.ts";

export interface PlainAdapter {
  readonly files: AdapterFiles;
  readonly adapter: LoadedAdapter;
}

export interface StartOptions {
  /** Modules whose start was computed, of all that have one. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Looked at before each module; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The same adapter; where its A and B began as a part of the base, that part is computed again, and it becomes plain
 * LoRA of twice the rank. For a large base that takes minutes.
 */
export async function plainAdapter(
  { files, adapter }: PlainAdapter,
  model: Model,
  options?: StartOptions,
): Promise<PlainAdapter> {
  const { selection, values } = await withStarts(adapter, model, options);
  if (selection.lora.every(({ fromBase }) => fromBase === null)) return { files, adapter };
  const content = { json: reexportConfig(files.given), selection, values };
  const plain = plainLora(content, files.config);
  const written = await writeAdapter(plain.json, plain.selection, (key) => plain.values.get(key)!, adapter);
  return {
    files: await readAdapter(bytesFileSet(files.label, written)),
    adapter: { ...adapter, selection: plain.selection, values: plain.values },
  };
}

/** The same adapter with what its A and B began as, where that was a part of the base: computed again, and ready to run. */
export async function withStarts(
  adapter: LoadedAdapter,
  model: Model,
  { onProgress, signal }: StartOptions = {},
): Promise<LoadedAdapter> {
  const ofBase = adapter.selection.lora.filter(({ fromBase }) => fromBase !== null);
  const values = new Map(adapter.values);
  for (const [i, target] of ofBase.entries()) {
    signal?.throwIfAborted();
    onProgress?.(i, ofBase.length);
    setStart(values, target, await startOfLoaded(model, target));
  }
  return { ...adapter, values };
}
