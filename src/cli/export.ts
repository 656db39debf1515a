/** The command that hands an adapter on in another form: `npm run export -- …`, as USAGE says. */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError } from "../base/errors.ts";
import { readJsonObject } from "../base/read-json.ts";
import { writeGguf } from "../formats/gguf-writer.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { ggufAdapter, refuseUnheld } from "../lora/exportGguf.ts";
import { loadAdapter, readAdapter } from "../lora/readAdapter.ts";
import { checkpointTensor } from "../models/frozen.ts";
import { ggufNames } from "../models/ggufNames.ts";
import { openModel } from "../train/openModel.ts";
import { openDirectory } from "./files.ts";

const USAGE = "npm run export -- ADAPTER_DIR --model MODEL_DIR --to gguf --out FILE";

function readArguments() {
  const options = {
    model: { type: "string" },
    to: { type: "string" },
    out: { type: "string" },
  } as const;
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const { model, to, out } = values;
    const [adapter] = positionals;
    if (positionals.length > 1) throw new Error(`${positionals.length} adapters are given`);
    if (to !== undefined && to !== "gguf") throw new Error(`--to is ${to}, not gguf`);
    if (adapter !== undefined && model !== undefined && to !== undefined && out !== undefined)
      return { adapter, model, out };
  } catch (thrown) {
    throw new ConfigError("arguments", `${(thrown as Error).message}.`, `Usage: ${USAGE}`);
  }
  throw new ConfigError(
    "arguments",
    "An adapter's folder, --model, --to and --out must be given.",
    `Usage: ${USAGE}`,
  );
}

async function main(): Promise<void> {
  const given = readArguments();
  const files = await openDirectory(given.adapter);
  const configSource = files.open(CONFIG_FILE);
  // Before anything else is asked of it: what no GGUF holds is the clearer answer.
  if (configSource) refuseUnheld(await readJsonObject(configSource), files.label);
  const adapter = await readAdapter(files);
  const { model, tensors } = await openModel(await openDirectory(given.model));
  const { config, modules } = model;
  const base = (name: string) => checkpointTensor(tensors, name);
  const { warnings } = await loadAdapter(adapter, modules, config.modelType, base);
  for (const warning of warnings) console.log(`note       ${warning}`);
  const contents = ggufAdapter(adapter, ggufNames(config));
  const out = resolve(given.out);
  await writeFile(out, writeGguf(contents.metadata, contents.tensors));
  console.log(`adapter    ${out}, ${contents.tensors.length / 2} modules`);
}

await main();
