/** The command that hands an adapter on in another form: `npm run export -- …`, as USAGE says. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError, FormatError } from "../base/errors.ts";
import { readJsonObject } from "../base/read-json.ts";
import { chatTemplate, findChatTemplate } from "../data/chat.ts";
import { modelfile, type TurnFrames, turnFrames } from "../data/modelfile.ts";
import { openGguf } from "../formats/gguf.ts";
import { writeGguf } from "../formats/gguf-writer.ts";
import { arraySource, mapFileSet } from "../formats/sources.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { adapterDifference } from "../lora/exportCheck.ts";
import { ggufAdapter, refuseUnheld } from "../lora/exportGguf.ts";
import type { GgufNames } from "../lora/ggufLayout.ts";
import { type AdapterFiles, loadAdapter, readAdapter } from "../lora/readAdapter.ts";
import { adapterOfGguf } from "../lora/readGguf.ts";
import { checkpointTensor } from "../models/frozen.ts";
import { ggufNames } from "../models/ggufNames.ts";
import { type OpenedModel, openModel } from "../train/openModel.ts";
import { fileSource, openDirectory } from "./files.ts";
import { startTemplateThread } from "./templates.ts";

const USAGE = "npm run export -- ADAPTER_DIR --model MODEL_DIR --to gguf --out FILE.gguf [--base NAME]";

function readArguments() {
  const options = {
    model: { type: "string" },
    to: { type: "string" },
    out: { type: "string" },
    base: { type: "string" },
  } as const;
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const { model, to, out } = values;
    const [adapter] = positionals;
    if (positionals.length > 1) throw new Error(`${positionals.length} adapters are given`);
    if (to !== undefined && to !== "gguf") throw new Error(`--to is ${to}, not gguf`);
    if (out !== undefined && !out.endsWith(".gguf")) throw new Error(`--out is ${out}, not a .gguf`);
    if (adapter !== undefined && model !== undefined && to !== undefined && out !== undefined)
      return { adapter, model, out: resolve(out), base: values.base ?? resolve(model) };
  } catch (thrown) {
    throw new ConfigError("arguments", `${(thrown as Error).message}.`, `Usage: ${USAGE}`);
  }
  throw new ConfigError(
    "arguments",
    "An adapter's folder, --model, --to and --out must be given.",
    `Usage: ${USAGE}`,
  );
}

/** What an adapter's folder holds, fitted to its base. Throws where it does not fit, or GGUF cannot hold it. */
async function openAdapter(path: string, { model, tensors }: OpenedModel): Promise<AdapterFiles> {
  const files = await openDirectory(path);
  const configSource = files.open(CONFIG_FILE);
  // Before anything else is asked of it: what no GGUF holds is the clearer answer.
  if (configSource) refuseUnheld(await readJsonObject(configSource), files.label);
  const adapter = await readAdapter(files);
  const base = (name: string) => checkpointTensor(tensors, name);
  const { warnings } = await loadAdapter(adapter, model.modules, model.config.modelType, base);
  for (const warning of warnings) console.log(`note       ${warning}`);
  return adapter;
}

/** How the model's template frames turns; the adapter's own template counts before the base's. */
async function framesOf(path: string, { template, tokenizer }: OpenedModel): Promise<TurnFrames | undefined> {
  const found = (await findChatTemplate(await openDirectory(path))) ?? template;
  if (!found) return undefined;
  const chat = chatTemplate(found, tokenizer, startTemplateThread);
  try {
    return await turnFrames(chat, tokenizer);
  } finally {
    chat.close();
  }
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

async function main(): Promise<void> {
  const { adapter, model, out, base } = readArguments();
  const opened = await openModel(await openDirectory(model));
  const files = await openAdapter(adapter, opened);
  const names = ggufNames(opened.model.config);
  const { metadata, tensors } = ggufAdapter(files, names);
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, writeGguf(basename(out), metadata, tensors).pieces());
  const difference = await checkWritten(out, files, names);
  console.log(`adapter    ${out}, ${tensors.length / 2} modules`);
  console.log(`read back  A and scale·B differ by ${difference.toExponential(1)} of their largest at most`);
  const frames = await framesOf(adapter, opened);
  const recipe = out.replace(/\.gguf$/, ".Modelfile");
  await writeFile(recipe, modelfile(base, basename(out), frames));
  console.log(`ollama     ${recipe}${frames ? "" : ", without a template: Ollama takes the base's"}`);
}

await main();
