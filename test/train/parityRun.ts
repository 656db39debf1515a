/** Replays a run of reference/dumps on the engine and measures how far it is from PEFT's. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileSource, openDirectory } from "../../src/cli/files.ts";
import { startTemplateThread } from "../../src/cli/templates.ts";
import type { Row } from "../../src/data/rows.ts";
import { toFloat32 } from "../../src/formats/floats.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import type { Kernels } from "../../src/gpu/kernels.ts";
import { loraKey } from "../../src/lora/adapterKeys.ts";
import type { LoraTarget } from "../../src/lora/selection.ts";
import type { OpenedBase } from "../../src/train/openBase.ts";
import { parseRunFile, type RunConfig } from "../../src/train/runFile.ts";
import { Session } from "../../src/train/session.ts";
import { parseRows } from "../data/parseRows.ts";

export const DUMPS = "reference/dumps";
/** Where the runs are: reference/random_runs.py makes others. */
export const RUNS = process.env.GRAFT_PARITY_RUNS ?? `${DUMPS}/runs`;

export interface ParityCase {
  readonly name: string;
  readonly base: string;
  readonly data: string;
  readonly about: string;
  readonly core: boolean;
}

/** Largest relative differences over the run; a kind of tensor that the run does not train is absent. */
export interface ParityErrors {
  readonly loss: number;
  readonly gradNorm: number;
  readonly lr: number;
  readonly tokens: number;
  readonly change: Readonly<Record<string, number>>;
}

export function parityCase(name: string): ParityCase {
  return JSON.parse(readFileSync(`${RUNS}/${name}/case.json`, "utf8")) as ParityCase;
}

type Tensors = Map<string, Float32Array>;

async function readTensors(bytes: Uint8Array): Promise<Tensors> {
  const { tensors } = await openSafetensors(arraySource(bytes, "adapter_model.safetensors"));
  const values: Tensors = new Map();
  for (const [name, tensor] of tensors) values.set(name, toFloat32(await tensor.read(), tensor.dtype));
  return values;
}

/** PEFT's adapter, and what trained beside it and PEFT does not save. */
async function readTrained(folder: string): Promise<Tensors> {
  const files = ["adapter_model.safetensors", "whole.safetensors"].map((file) => join(folder, file));
  const tensors = await Promise.all(files.filter(existsSync).map((file) => readTensors(readFileSync(file))));
  return new Map(tensors.flatMap((some) => [...some]));
}

export interface ParityOptions {
  /** Which of the run's adapters to start from. */
  readonly adapter?: "initial" | "final" | "none";
  /** Another base that the adapter fits. */
  readonly base?: string;
  readonly submitMs?: number;
  readonly heldOut?: readonly Row[];
  /** Its base, where that was opened before. */
  readonly opened?: OpenedBase;
}

export async function openParitySession(
  gpu: Gpu,
  kernels: Kernels,
  name: string,
  change: (run: RunConfig) => void = () => {},
  { adapter = "initial", submitMs, heldOut, opened, ...options }: ParityOptions = {},
): Promise<Session> {
  const { data, base } = { ...parityCase(name), ...options };
  const folder = `${RUNS}/${name}`;
  const run = parseRunFile(JSON.parse(readFileSync(`${folder}/run.json`, "utf8")), "run.json");
  change(run);
  const { rows } = await parseRows(await fileSource(`${DUMPS}/data/${data}`), { format: "jsonl" });
  const sources = {
    model: await openDirectory(`${DUMPS}/bases/${base}`),
    base: opened,
    rows,
    heldOut,
    run,
    adapter: adapter === "none" ? undefined : await openDirectory(`${folder}/${adapter}`),
    startTemplates: startTemplateThread,
  };
  return Session.open(gpu, kernels, sources, { submitMs });
}

/** `exportTo`: where the adapter and its logits are left for reference/verify_adapter.py. */
export async function replay(
  gpu: Gpu,
  kernels: Kernels,
  name: string,
  exportTo?: string,
): Promise<ParityErrors> {
  const folder = `${RUNS}/${name}`;
  const session = await openParitySession(gpu, kernels, name);
  await session.prepare();
  await session.run(() => {});
  const files = await session.files({ baseModel: null, dataset: "parity", device: null });
  if (exportTo) await writeExport(session, files, folder, join(exportTo, name));
  session.destroy();
  const expected = readFileSync(`${folder}/metrics.jsonl`, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<"loss" | "grad_norm" | "lr" | "tokens", number>);
  if (session.reports.length !== expected.length) {
    throw new Error(`${name}: ${session.reports.length} steps, PEFT took ${expected.length}`);
  }
  const worst = (key: "loss" | "grad_norm" | "lr" | "tokens"): number =>
    Math.max(
      ...session.reports.map((report, i) => {
        const off = Math.abs(report[key] - expected[i]![key]);
        return off === 0 ? 0 : off / Math.abs(expected[i]![key]);
      }),
    );
  const mine = await readTensors(files.get("adapter_model.safetensors")!);
  for (const { key } of session.adapted.selection.requiresGrad?.beside ?? []) mine.delete(key);
  for (const target of session.adapted.selection.lora) if (target.fromBase) keepOwnHalf(mine, target);
  const before = await readTrained(`${folder}/initial`);
  const after = await readTrained(`${folder}/final`);
  return {
    loss: worst("loss"),
    gradNorm: worst("grad_norm"),
    lr: worst("lr"),
    tokens: worst("tokens"),
    change: changes(mine, before, after),
  };
}

async function writeExport(
  session: Session,
  files: ReadonlyMap<string, Uint8Array>,
  run: string,
  into: string,
): Promise<void> {
  mkdirSync(into, { recursive: true });
  for (const [file, bytes] of files) writeFileSync(join(into, file), bytes);
  const { ids } = JSON.parse(readFileSync(`${run}/logits.json`, "utf8")) as { ids: number[] };
  const logits = (await session.logits(Uint32Array.from(ids))).map((row) => [...row]);
  writeFileSync(join(into, "logits.json"), JSON.stringify({ ids, logits }));
}

/** An adapter that began as a part of the base is exported with that beside it; PEFT's is compared without. */
function keepOwnHalf(tensors: Tensors, { module, r }: LoraTarget): void {
  const [a, b] = [loraKey(module.name, "lora_A"), loraKey(module.name, "lora_B")];
  tensors.set(a, tensors.get(a)!.subarray(0, r * module.inFeatures));
  tensors.set(
    b,
    tensors.get(b)!.filter((_, i) => i % (2 * r) < r),
  );
}

function kindOf(key: string): string {
  if (/\.(lora_B|base_layer)\.bias$/.test(key)) return "bias";
  if (key.endsWith(".lora_magnitude_vector")) return "magnitude";
  if (key.endsWith(".trainable_tokens_delta")) return "tokens";
  const half = /\.lora_(?:embedding_)?([AB])/.exec(key);
  return half ? half[1]! : "whole";
}

/** ‖mine − PEFT's‖ / ‖PEFT's change‖, over all tensors of a kind together. */
function changes(mine: Tensors, before: Tensors, after: Tensors): Record<string, number> {
  const sums: Record<string, { off: number; moved: number }> = {};
  if ([...mine.keys()].sort().join() !== [...after.keys()].sort().join()) {
    throw new Error("the exported tensors are not those that PEFT wrote");
  }
  for (const [key, final] of after) {
    const kind = kindOf(key);
    sums[kind] ??= { off: 0, moved: 0 };
    const own = mine.get(key)!;
    const start = before.get(key)!;
    final.forEach((value, i) => {
      sums[kind]!.off += (own[i]! - value) ** 2;
      sums[kind]!.moved += (value - start[i]!) ** 2;
    });
  }
  return Object.fromEntries(
    Object.entries(sums).map(([kind, { off, moved }]) => [kind, Math.sqrt(off / Math.max(moved, 1e-30))]),
  );
}
