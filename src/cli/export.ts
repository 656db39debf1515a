/** The command that hands an adapter on in another form: `npm run export -- …`, as USAGE says. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError } from "../base/errors.ts";
import { openModel } from "../train/openModel.ts";
import { exportAdapter } from "./exportAdapter.ts";
import { exportMerged } from "./exportMerged.ts";
import { openDirectory } from "./files.ts";

const USAGE = `npm run export -- ADAPTER_DIR --model MODEL_DIR --to gguf --out FILE.gguf [--base NAME]
  npm run export -- ADAPTER_DIR --model MODEL_DIR --to merged --out DIR`;

function readArguments() {
  const options = {
    model: { type: "string" },
    to: { type: "string" },
    out: { type: "string" },
    base: { type: "string" },
  } as const;
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const { model, to, out, base } = values;
    const [adapter] = positionals;
    if (positionals.length > 1) throw new Error(`${positionals.length} adapters are given`);
    if (adapter === undefined || model === undefined || to === undefined || out === undefined)
      throw new Error("An adapter's folder, --model, --to and --out must be given");
    if (to !== "gguf" && to !== "merged") throw new Error(`--to is ${to}, not gguf or merged`);
    if (to === "gguf" && !out.endsWith(".gguf")) throw new Error(`--out is ${out}, not a .gguf`);
    return { adapter, model, to, out: resolve(out), base: base ?? resolve(model) } as const;
  } catch (thrown) {
    throw new ConfigError("arguments", `${(thrown as Error).message}.`, `Usage: ${USAGE}`);
  }
}

async function main(): Promise<void> {
  const { adapter, model, to, out, base } = readArguments();
  const folder = await openDirectory(model);
  const opened = await openModel(folder);
  const files = await openDirectory(adapter);
  if (to === "gguf") await exportAdapter(opened, files, out, base);
  else await exportMerged(folder, opened, files, out);
}

await main();
