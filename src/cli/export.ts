/** The command that hands an adapter on in another form: `npm run export -- …`, as USAGE says. */
import { mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError } from "../base/errors.ts";
import { readJsonObject } from "../base/read-json.ts";
import { chatTemplate, findChatTemplate } from "../data/chat.ts";
import { modelfile, type TurnFrames, turnFrames } from "../data/modelfile.ts";
import { writeGguf } from "../formats/gguf-writer.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { ggufAdapter, refuseUnheld } from "../lora/exportGguf.ts";
import { type AdapterFiles, loadAdapter, readAdapter } from "../lora/readAdapter.ts";
import { checkpointTensor } from "../models/frozen.ts";
import { ggufNames } from "../models/ggufNames.ts";
import { type OpenedModel, openModel } from "../train/openModel.ts";
import { openDirectory } from "./files.ts";
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

async function main(): Promise<void> {
  const { adapter, model, out, base } = readArguments();
  const opened = await openModel(await openDirectory(model));
  const files = await openAdapter(adapter, opened);
  const { metadata, tensors } = ggufAdapter(files, ggufNames(opened.model.config));
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, writeGguf(metadata, tensors));
  console.log(`adapter    ${out}, ${tensors.length / 2} modules`);
  const frames = await framesOf(adapter, opened);
  const recipe = out.replace(/\.gguf$/, ".Modelfile");
  await writeFile(recipe, modelfile(base, basename(out), frames));
  console.log(`ollama     ${recipe}${frames ? "" : ", without a template: Ollama takes the base's"}`);
}

await main();
