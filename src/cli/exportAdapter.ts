/** `--to gguf`: an adapter for llama.cpp and Ollama, with a Modelfile. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { FileSet } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { readJsonObject } from "../base/read-json.ts";
import { modelfile } from "../data/modelfile.ts";
import { openGguf } from "../formats/gguf.ts";
import { writeGguf } from "../formats/gguf-writer.ts";
import { arraySource, mapFileSet } from "../formats/sources.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { adapterDifference } from "../lora/exportCheck.ts";
import { ggufAdapter, refuseUnheld } from "../lora/exportGguf.ts";
import type { GgufNames } from "../lora/ggufLayout.ts";
import { type AdapterFiles, readAdapter } from "../lora/readAdapter.ts";
import { adapterOfGguf } from "../lora/readGguf.ts";
import { ggufNames } from "../models/ggufNames.ts";
import { fitAdapter } from "../train/openAdapter.ts";
import type { OpenedModel } from "../train/openModel.ts";
import { plainAdapter } from "../train/plainAdapter.ts";
import { fileSource } from "./files.ts";
import { framesOf, writeModelfile } from "./modelfile.ts";

/** What an adapter's folder holds, fitted to its base. Throws where it does not fit, or GGUF cannot hold it. */
async function openAdapter(files: FileSet, { model }: OpenedModel): Promise<AdapterFiles> {
  const configSource = files.open(CONFIG_FILE);
  // Before anything else is asked of it: what no GGUF holds is the clearer answer.
  if (configSource) {
    // What it began as is no obstacle: with the base at hand it becomes plain LoRA.
    const { init_lora_weights: _, ...config } = await readJsonObject(configSource);
    refuseUnheld(config, files.label);
  }
  const adapter = await readAdapter(files);
  const plain = await plainAdapter({ files: adapter, adapter: await fitAdapter(adapter, model) }, model);
  for (const warning of plain.adapter.warnings) console.log(`note       ${warning}`);
  return plain.files;
}

/** f32 rounds what is folded into B, and the alpha: twice 6e-8. */
const TOLERANCE = 1e-6;

/** Reads the written file back; what is not the adapter is taken away again. Gives the largest difference. */
async function checkWritten(out: string, adapter: AdapterFiles, names: GgufNames): Promise<number> {
  const files = await adapterOfGguf(await openGguf(await fileSource(out)), names, basename(out));
  const sources = [...files].map(([name, bytes]) => [name, arraySource(bytes, name)] as const);
  const again = await readAdapter(mapFileSet(basename(out), new Map(sources)));
  const difference = await adapterDifference(again, adapter);
  if (difference <= TOLERANCE) return difference;
  await rm(out);
  throw new FormatError(
    "export-check",
    `${basename(out)}, read back, differed from the adapter by ${difference} of its largest value; ${TOLERANCE} is allowed.`,
    "The file was removed. This is a defect in Graft: please report it.",
  );
}

/** `base` is what Ollama knows the base model by. */
export async function exportAdapter(
  opened: OpenedModel,
  adapterFiles: FileSet,
  out: string,
  base: string,
): Promise<void> {
  const files = await openAdapter(adapterFiles, opened);
  const names = ggufNames(opened.model.config);
  const { metadata, tensors } = ggufAdapter(files, names);
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, writeGguf(basename(out), metadata, tensors).pieces());
  const difference = await checkWritten(out, files, names);
  console.log(`adapter    ${out}, ${tensors.length / 2} modules`);
  console.log(`read back  A and scale·B differ by ${difference.toExponential(1)} of their largest at most`);
  const recipe = modelfile(base, basename(out), await framesOf(adapterFiles, opened));
  await writeModelfile(out, recipe);
}
