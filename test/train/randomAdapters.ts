/**
 * Holds Graft against the adapters of reference/random_adapters.py:
 *
 *     node scripts/run.mjs test/train/randomAdapters.ts DIR [NAME…]
 *
 * Each adapter that PEFT has saved is opened, written again, asked for its logits, and handed on in every form that can hold
 * it, with the check that no export goes without. Then come those of stacks.json: adapters at strengths, without layers and
 * added up. What does not agree, or is refused, gets a line that begins with the adapter's name.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { FileStream } from "../../src/base/bytes.ts";
import { GraftError } from "../../src/base/errors.ts";
import { requestNodeDevice } from "../../src/cli/device.ts";
import { openDirectory } from "../../src/cli/files.ts";
import { startTemplateThread } from "../../src/cli/templates.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import { reexportConfig } from "../../src/lora/exportConfig.ts";
import { readAdapter } from "../../src/lora/readAdapter.ts";
import { writeAdapter } from "../../src/lora/writeAdapter.ts";
import { AdaptedModel } from "../../src/train/adaptedModel.ts";
import { EXPORT_FORMATS } from "../../src/train/exportFiles.ts";
import { exportChecked } from "../../src/train/exports.ts";
import { engineValues } from "../../src/train/initialValues.ts";
import { logitsOf } from "../../src/train/logits.ts";
import { fitAdapter } from "../../src/train/openAdapter.ts";
import { type OpenedBase, openBase } from "../../src/train/openBase.ts";
import { withStarts } from "../../src/train/plainAdapter.ts";
import { checkPrompts, largestDifference } from "../../src/train/selfCheck.ts";
import { AdapterShelf, type AdapterUse } from "../../src/train/shelf.ts";
import { DUMPS } from "./parityRun.ts";

interface Wanted {
  readonly base: string;
  readonly ids: readonly number[];
  readonly logits: readonly (readonly number[])[];
}

interface Stack extends Wanted {
  readonly adapters: readonly (Omit<AdapterUse, "id"> & { readonly name: string })[];
}

const LIMIT = 1e-5;
const [folder = "", ...chosen] = process.argv.slice(2);
const node = await requestNodeDevice({ limits: "default" });
const gpu = new Gpu(node.device);
const kernels = new Kernels(gpu);
const bases = new Map<string, Promise<OpenedBase>>();
const counts = new Map<string, number>();
/** The largest differences of logits, by what was compared. */
const largest = new Map<string, number>();

function json<T>(path: string): T {
  return JSON.parse(readFileSync(`${folder}/${path}`, "utf8")) as T;
}

function baseOf(name: string): Promise<OpenedBase> {
  const open = async () => openBase(gpu, kernels, await openDirectory(`${DUMPS}/bases/${name}`));
  if (!bases.has(name)) bases.set(name, open());
  return bases.get(name)!;
}

function tell(name: string, outcome: string, why: string): void {
  counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  if (why) console.log(`${name} ${outcome}: ${why}`);
}

/** Compares logits; says where they are too far. */
async function compare(name: string, what: string, model: AdaptedModel, wanted: Wanted): Promise<void> {
  const found = await logitsOf(model, Uint32Array.from(wanted.ids));
  const difference = largestDifference(
    found,
    wanted.logits.map((row) => Float32Array.from(row)),
  );
  largest.set(what, Math.max(difference, largest.get(what) ?? 0));
  if (difference <= LIMIT) tell(name, `${what} agrees`, "");
  else tell(name, `${what} differs`, `by ${difference.toExponential(1)} of the largest logit`);
}

async function attempt(name: string, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    if (thrown instanceof GraftError) tell(name, `${what} refused`, thrown.message);
    else tell(name, `${what} fails`, String((thrown as Error).stack ?? thrown));
  }
}

async function inMemory({ name, byteLength, pieces }: FileStream) {
  const bytes = new Uint8Array(byteLength);
  let at = 0;
  for await (const piece of pieces()) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return arraySource(bytes, name);
}

async function holdAdapter(name: string): Promise<void> {
  const wanted = json<Wanted>(`${name}/case.json`);
  const { opened, frozen } = await baseOf(wanted.base);
  const { model, tokenizer } = opened;
  const files = await openDirectory(`${folder}/${name}/adapter`);
  const read = await readAdapter(files);
  const adapter = await fitAdapter(read, model);
  const valuesOf = (key: string) => adapter.values.get(key)!;
  const again = await writeAdapter(reexportConfig(read.given), adapter.selection, valuesOf, adapter);
  for (const [file, bytes] of again) {
    // PEFT does not read all again that save_embedding_layers has it write, and Graft leaves that out.
    if (!readFileSync(`${folder}/${name}/adapter/${file}`).equals(bytes)) tell(name, "other bytes", file);
  }
  const initial = engineValues(model, await withStarts(adapter, model));
  const live = new AdaptedModel({
    ...{ gpu, kernels, model, frozen, selection: adapter.selection, initial },
    ...{ loraDropout: 0, trains: false },
  });
  await compare(name, "adapter", live, wanted);
  const handed = {
    ...{ opened, live, adapter: files, base: await openDirectory(`${DUMPS}/bases/${wanted.base}`) },
    ...{ template: opened.template, startTemplates: startTemplateThread },
    ...{ baseName: "base", ggufName: () => "adapter.gguf" },
    prompts: checkPrompts([{ ids: Uint32Array.from(tokenizer.encode("Once upon a time")) }], model.config),
  };
  for (const format of EXPORT_FORMATS.filter((one) => one !== "peft")) {
    await attempt(name, format, async () => {
      await exportChecked(format, handed, inMemory);
      tell(name, `${format} agrees`, "");
    });
  }
  live.destroy();
}

async function holdStack({ adapters, ...wanted }: Stack): Promise<void> {
  const shelf = new AdapterShelf(await baseOf(wanted.base), startTemplateThread);
  const uses: AdapterUse[] = [];
  for (const { name, ...use } of adapters) {
    const { id } = await shelf.open(await openDirectory(`${folder}/${name}/adapter`));
    uses.push({ id, ...use });
  }
  const model = await shelf.model(uses);
  await compare(described(adapters), "stack", model, wanted);
  model.destroy();
}

function described(adapters: Stack["adapters"]): string {
  return adapters
    .map(
      ({ name, strength, layersOff }) =>
        `${name}:${strength}${layersOff?.length ? ` without ${layersOff}` : ""}`,
    )
    .join(" + ");
}

const isChosen = (name: string) => chosen.length === 0 || chosen.includes(name);
for (const name of readdirSync(folder).filter((one) => /^random_/.test(one) && isChosen(one)))
  await attempt(name, "adapter", () => holdAdapter(name));
for (const stack of json<Stack[]>("stacks.json").filter(({ adapters }) =>
  adapters.every(({ name }) => isChosen(name)),
))
  await attempt(described(stack.adapters), "stack", () => holdStack(stack));
console.log([...counts].map(([outcome, count]) => `${count} ${outcome}`).join(", "));
console.log([...largest].map(([what, difference]) => `${what} ${difference.toExponential(1)}`).join(", "));
node.device.destroy();
