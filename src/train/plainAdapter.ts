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

/**
 * The same adapter; where its A and B began as a part of the base, that part is computed again, and it becomes plain
 * LoRA of twice the rank.
 */
export async function plainAdapter({ files, adapter }: PlainAdapter, model: Model): Promise<PlainAdapter> {
  const ofBase = adapter.selection.lora.filter(({ fromBase }) => fromBase !== null);
  if (ofBase.length === 0) return { files, adapter };
  const values = new Map(adapter.values);
  for (const target of ofBase) setStart(values, target, await startOfLoaded(model, target));
  const content = { json: reexportConfig(files.given), selection: adapter.selection, values };
  const plain = plainLora(content, files.config);
  const { json, selection } = plain;
  const written = await writeAdapter(json, selection, (key) => plain.values.get(key)!, adapter);
  return {
    files: await readAdapter(bytesFileSet(files.label, written)),
    adapter: { ...adapter, selection, values: plain.values },
  };
}
