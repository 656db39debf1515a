/** The command that asks a model, with adapters on or without: `npm run ask -- …`, as USAGE says. */
import { parseArgs } from "node:util";
import { Gpu } from "../gpu/device.ts";
import { Kernels } from "../gpu/kernels.ts";
import { MAX_STRENGTH } from "../lora/strength.ts";
import { openBase } from "../train/openBase.ts";
import { AdapterShelf, type AdapterUse } from "../train/shelf.ts";
import { requestNodeDevice, trouble } from "./device.ts";
import { openAdapterPath, openDirectory } from "./files.ts";
import { startTemplateThread } from "./templates.ts";
import { readArguments } from "./usage.ts";

const USAGE = `npm run ask -- --model DIR --prompt TEXT… [--adapter DIR|ZIP|GGUF[:STRENGTH]…]
  [--layers-off 0,1,…,outside] [--raw] [--max-new-tokens N]`;

const OUTSIDE = "outside";

function givenArguments() {
  const options = {
    model: { type: "string" },
    prompt: { type: "string", multiple: true },
    adapter: { type: "string", multiple: true },
    "layers-off": { type: "string", default: "" },
    raw: { type: "boolean", default: false },
    "max-new-tokens": { type: "string", default: "128" },
  } as const;
  const { values } = parseArgs({ options });
  const { model, prompt, raw } = values;
  if (model === undefined || prompt === undefined) throw new Error("--model and --prompt must be given");
  const max_new_tokens = wholeNumber(values["max-new-tokens"]);
  if (max_new_tokens === 0) throw new Error("--max-new-tokens is 0, expected at least 1");
  return {
    ...{ model, prompt, raw, max_new_tokens },
    adapters: (values.adapter ?? []).map(adapterOf),
    ...layersOff(values["layers-off"].split(",").filter(Boolean)),
  };
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
  const [, path, text] = /^(.+):([-+]?[\d.,]+)$/.exec(given) ?? [];
  if (path === undefined) return { path: given, strength: 1 };
  const strength = Number(text);
  if (strength >= 0 && strength <= MAX_STRENGTH) return { path, strength };
  throw new Error(
    `The strength of ${path} is ${text}, expected a number from 0 to ${MAX_STRENGTH}, such as 0.5`,
  );
}

async function main(): Promise<void> {
  const given = readArguments(USAGE, givenArguments);
  const files = await openDirectory(given.model);
  const adapters = [];
  for (const { path, strength } of given.adapters)
    adapters.push({ source: await openAdapterPath(path), strength });
  const node = await requestNodeDevice();
  const gpu = new Gpu(node.device);
  const base = await openBase(gpu, new Kernels(gpu), files);
  const shelf = new AdapterShelf(base, startTemplateThread);
  const uses: AdapterUse[] = [];
  console.log(`model      ${files.label}, on ${node.description}`);
  for (const { source, strength } of adapters) {
    const { id, label, baseModel, fit } = await shelf.open(source);
    console.log(`adapter    ${label} at ${strength}${baseModel === null ? "" : `, made for ${baseModel}`}`);
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
