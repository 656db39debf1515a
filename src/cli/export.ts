/** The command that hands an adapter on in another form: `npm run export -- …`, as USAGE says. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError } from "../base/errors.ts";
import { openModel } from "../train/openModel.ts";
import { exportAdapter } from "./exportAdapter.ts";
import { exportMerged, exportMergedGguf } from "./exportMerged.ts";
import { openDirectory } from "./files.ts";

const USAGE = `npm run export -- ADAPTER_DIR --model MODEL_DIR --to gguf --out FILE.gguf [--base NAME]
  npm run export -- ADAPTER_DIR --model MODEL_DIR --to merged --out DIR
  npm run export -- ADAPTER_DIR --model MODEL_DIR --to merged-gguf --out FILE.gguf [--dtype f32|f16|q8_0]`;

const TYPES = { f32: "F32", f16: "F16", q8_0: "Q8_0" } as const;

function readArguments() {
  const options = {
    model: { type: "string" },
    to: { type: "string" },
    out: { type: "string" },
    base: { type: "string" },
    dtype: { type: "string" },
  } as const;
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const { model, to, out, base, dtype = "f16" } = values;
    const [adapter] = positionals;
    if (positionals.length > 1) throw new Error(`${positionals.length} adapters are given`);
    if (adapter === undefined || model === undefined || to === undefined || out === undefined)
      throw new Error("An adapter's folder, --model, --to and --out must be given");
    if (to !== "gguf" && to !== "merged" && to !== "merged-gguf")
      throw new Error(`--to is ${to}, not gguf, merged or merged-gguf`);
    if (to !== "merged" && !out.endsWith(".gguf")) throw new Error(`--out is ${out}, not a .gguf`);
    if (dtype !== "f32" && dtype !== "f16" && dtype !== "q8_0")
      throw new Error(`--dtype is ${dtype}, not f32, f16 or q8_0`);
    return {
      adapter,
      model,
      to,
      out: resolve(out),
      base: base ?? resolve(model),
      type: TYPES[dtype],
    } as const;
  } catch (thrown) {
    throw new ConfigError("arguments", `${(thrown as Error).message}.`, `Usage: ${USAGE}`);
  }
}

async function main(): Promise<void> {
  const { adapter, model, to, out, base, type } = readArguments();
  const folder = await openDirectory(model);
  const opened = await openModel(folder);
  const files = await openDirectory(adapter);
  if (to === "gguf") await exportAdapter(opened, files, out, base);
  else if (to === "merged") await exportMerged(folder, opened, files, out);
  else await exportMergedGguf(folder, opened, files, out, type);
}

await main();
