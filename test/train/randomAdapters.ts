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
import { GraftError } from "../../src/base/errors.ts";
import { openDirectory } from "../../src/cli/files.ts";
import { startTemplateThread } from "../../src/cli/templates.ts";
import type { AdaptedModel } from "../../src/train/adaptedModel.ts";
import { AdapterShelf, type AdapterUse } from "../../src/train/shelf.ts";
import {
  handOn,
  heldBase,
  holdAdapter,
  LOGIT_LIMIT,
  logitDifference,
  OTHER_FORMATS,
  release,
  type Wanted,
} from "./heldAdapter.ts";

interface Stack extends Wanted {
  readonly adapters: readonly (Omit<AdapterUse, "id"> & { readonly name: string })[];
}

const [folder = "", ...chosen] = process.argv.slice(2);
const counts = new Map<string, number>();
/** The largest differences of logits, by what was compared. */
const largest = new Map<string, number>();

function json<T>(path: string): T {
  return JSON.parse(readFileSync(`${folder}/${path}`, "utf8")) as T;
}

function tell(name: string, outcome: string, why: string): void {
  counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  if (why) console.log(`${name} ${outcome}: ${why}`);
}

/** Compares logits; says where they are too far. */
async function compare(name: string, what: string, model: AdaptedModel, wanted: Wanted): Promise<void> {
  const difference = await logitDifference(model, wanted);
  largest.set(what, Math.max(difference, largest.get(what) ?? 0));
  if (difference <= LOGIT_LIMIT) tell(name, `${what} agrees`, "");
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

async function checkAdapter(name: string): Promise<void> {
  const wanted = json<Wanted>(`${name}/case.json`);
  const held = await holdAdapter(`${folder}/${name}/adapter`, wanted.base);
  for (const [file, bytes] of held.again) {
    // PEFT does not read all again that save_embedding_layers has it write, and Graft leaves that out.
    if (!readFileSync(`${folder}/${name}/adapter/${file}`).equals(bytes)) tell(name, "other bytes", file);
  }
  await compare(name, "adapter", held.live, wanted);
  for (const format of OTHER_FORMATS) {
    await attempt(name, format, async () => {
      await handOn(format, held);
      tell(name, `${format} agrees`, "");
    });
  }
  held.live.destroy();
}

async function checkStack({ adapters, ...wanted }: Stack): Promise<void> {
  const shelf = new AdapterShelf(await heldBase(wanted.base), startTemplateThread);
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
  await attempt(name, "adapter", () => checkAdapter(name));
for (const stack of json<Stack[]>("stacks.json").filter(({ adapters }) =>
  adapters.every(({ name }) => isChosen(name)),
))
  await attempt(described(stack.adapters), "stack", () => checkStack(stack));
console.log([...counts].map(([outcome, count]) => `${count} ${outcome}`).join(", "));
console.log([...largest].map(([what, difference]) => `${what} ${difference.toExponential(1)}`).join(", "));
release();
