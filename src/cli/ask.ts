/** The command that asks a model, with adapters on or without: `npm run ask -- …`, as USAGE says. */
import { parseArgs } from "node:util";
import { ConfigError } from "../base/errors.ts";
import { Gpu } from "../gpu/device.ts";
import { Kernels } from "../gpu/kernels.ts";
import { openBase } from "../train/openBase.ts";
import { AdapterShelf, type AdapterUse } from "../train/shelf.ts";
import { requestNodeDevice, trouble } from "./device.ts";
import { openAdapterPath, openDirectory } from "./files.ts";
import { startTemplateThread } from "./templates.ts";

const USAGE = `npm run ask -- --model DIR --prompt TEXT… [--adapter DIR|ZIP|GGUF[:STRENGTH]…]
  [--layers-off 0,1,…,outside] [--raw] [--max-new-tokens N]`;

const OUTSIDE = "outside";

function readArguments() {
  const options = {
    model: { type: "string" },
    prompt: { type: "string", multiple: true },
    adapter: { type: "string", multiple: true },
    "layers-off": { type: "string", default: "" },
    raw: { type: "boolean", default: false },
    "max-new-tokens": { type: "string", default: "128" },
  } as const;
  try {
    const { values } = parseArgs({ options });
    const { model, prompt, raw } = values;
    if (model === undefined || prompt === undefined) throw new Error("--model and --prompt must be given");
    return {
      ...{ model, prompt, raw },
      adapters: (values.adapter ?? []).map(adapterOf),
      ...layersOff(values["layers-off"].split(",").filter(Boolean)),
      max_new_tokens: wholeNumber(values["max-new-tokens"]),
    };
  } catch (thrown) {
    throw new ConfigError("arguments", `${(thrown as Error).message}.`, `Usage: ${USAGE}`);
  }
}

function wholeNumber(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new Error(`${text} is no whole number`);
}

/** Numbers of layers, and `outside` for what lies in none: embeddings, the last norm, the head. */
function layersOff(given: readonly string[]): Pick<AdapterUse, "layersOff" | "isRestOff"> {
  const numbers = given.filter((text) => text !== OUTSIDE);
  const wrong = numbers.find((text) => !/^\d+$/.test(text));
  if (wrong !== undefined)
    throw new Error(`--layers-off has ${wrong}, expected numbers of layers and ${OUTSIDE}`);
  return { layersOff: numbers.map(Number), isRestOff: given.includes(OUTSIDE) };
}

/** `path:0.5`, or a path alone for the strength 1. */
function adapterOf(given: string): { readonly path: string; readonly strength: number } {
  const [, path, strength] = /^(.+):(\d+(?:\.\d+)?)$/.exec(given) ?? [];
  return path === undefined ? { path: given, strength: 1 } : { path, strength: Number(strength) };
}

async function main(): Promise<void> {
  const given = readArguments();
  const files = await openDirectory(given.model);
  const node = await requestNodeDevice();
  const gpu = new Gpu(node.device);
  const base = await openBase(gpu, new Kernels(gpu), files);
  const shelf = new AdapterShelf(base, startTemplateThread);
  const uses: AdapterUse[] = [];
  console.log(`model      ${files.label}, on ${node.description}`);
  for (const { path, strength } of given.adapters) {
    const { id, label, fit } = await shelf.open(await openAdapterPath(path));
    console.log(`adapter    ${label} at ${strength}`);
    for (const warning of fit.ok ? fit.value.warnings : []) console.log(`note       ${warning}`);
    uses.push({ id, strength, layersOff: given.layersOff, isRestOff: given.isRestOff });
  }
  const prompts = given.prompt.map((text) =>
    given.raw ? { text } : { messages: [{ role: "user", content: text }] },
  );
  const asked = shelf.answers(uses, prompts, { max_new_tokens: given.max_new_tokens });
  const answers = await Promise.race([asked, trouble(node.device)]);
  for (const [i, answer] of answers.entries()) {
    console.log(`prompt     ${JSON.stringify(given.prompt[i])}`);
    console.log(`answer     ${JSON.stringify(answer)}`);
  }
  base.frozen.destroy();
  node.device.destroy();
}

await main();
