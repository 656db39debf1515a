/**
 * Holds Graft against the runs of reference/random_runs.py:
 *
 *     GRAFT_PARITY_RUNS=DIR node scripts/run.mjs test/train/randomRuns.ts [NAME…]
 *
 * Each run is opened twice: as a new run, whose files must be those of PEFT's new adapter, and from PEFT's adapter, to be
 * trained. What neither agrees nor is refused by both gets a line that begins with the run's name.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { GraftError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { requestNodeDevice } from "../../src/cli/device.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import type { RunConfig } from "../../src/train/runFile.ts";
import { openParitySession, type ParityErrors, RUNS, replay } from "./parityRun.ts";

const node = await requestNodeDevice({ limits: "default" });
const gpu = new Gpu(node.device, { decodesWhileLoading: false });
const kernels = new Kernels(gpu);

/** PEFT knows the rest of what trains neither in its files nor in what it refuses. */
function byLoraAlone(run: RunConfig): void {
  run.train.requires_grad = null;
  run.train.param_groups = null;
}

/** How the files of a new adapter differ from PEFT's. */
async function compareFiles(name: string): Promise<string[]> {
  const session = await openParitySession(gpu, kernels, name, byLoraAlone, { adapter: "none" });
  try {
    // These are exported as plain LoRA of another rank, and with the rank that the matrix can have or that is tied.
    const startsFromBase = session.adapted.selection.lora.some(({ fromBase }) => fromBase !== null);
    const isReduced = session.summary.warnings.some((warning) =>
      /^A rank above|decides its scale alone/.test(warning),
    );
    if (startsFromBase || isReduced || peftRefusal(name) !== undefined) return [];
    const folder = `${RUNS}/${name}/initial`;
    const wanted = JSON.parse(readFileSync(`${folder}/adapter_config.json`, "utf8")) as JsonObject;
    await session.prepare();
    const baseModel = wanted.base_model_name_or_path as string;
    const files = await session.files({ baseModel, dataset: "parity", device: null });
    const config = JSON.parse(new TextDecoder().decode(files.get("adapter_config.json"))) as JsonObject;
    return [
      ...differing(configLines(config), configLines(wanted)),
      ...differing(
        await headerLines(files.get("adapter_model.safetensors")!),
        await headerLines(readFileSync(`${folder}/adapter_model.safetensors`)),
      ),
    ];
  } finally {
    session.destroy();
  }
}

/** PEFT keeps some lists as sets, so their order is none. */
function configLines(config: JsonObject): string[] {
  return Object.entries(config).map(
    ([key, value]) => `${key} ${JSON.stringify(Array.isArray(value) ? value.toSorted() : value)}`,
  );
}

async function headerLines(bytes: Uint8Array): Promise<string[]> {
  const { tensors } = await openSafetensors(arraySource(bytes, "adapter_model.safetensors"));
  return [...tensors].map(([name, { dtype, shape }]) => `${name} ${dtype} [${shape}]`);
}

function differing(found: readonly string[], wanted: readonly string[]): string[] {
  return [
    ...found.filter((line) => !wanted.includes(line)).map((line) => `+ ${line}`),
    ...wanted.filter((line) => !found.includes(line)).map((line) => `- ${line}`),
  ];
}

/** The last line of PEFT's error; undefined where it has trained. */
function peftRefusal(name: string): string | undefined {
  const file = `${RUNS}/${name}/refused.txt`;
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n").at(-1) : undefined;
}

/** The largest error of each kind over all runs that are not too far. */
const largest = new Map<string, number>();

function note({ loss, gradNorm, change }: ParityErrors): void {
  for (const [kind, error] of Object.entries({ loss, gradNorm, ...change })) {
    largest.set(kind, Math.max(error, largest.get(kind) ?? 0));
  }
}

/** The kinds of errors that are larger than a reference run's may be, or than PEFT's own sensitivity to rounding explains. */
function tooFar(name: string, errors: ParityErrors): string[] {
  const { noise } = JSON.parse(readFileSync(`${RUNS}/${name}/case.json`, "utf8")) as {
    noise: Record<string, number>;
  };
  const { loss, gradNorm, lr, tokens, change } = errors;
  const rounding = (kind: string, limit: number): number => Math.max(limit, 10 * (noise[kind] ?? 0));
  const limits: [string, number, number][] = [
    ["loss", loss, rounding("loss", 1e-5)],
    ["gradNorm", gradNorm, rounding("grad_norm", 1e-4)],
    ["lr", lr, 1e-9],
    ["tokens", tokens, 1e-9],
  ];
  for (const [kind, error] of Object.entries(change)) {
    limits.push([`change of ${kind}`, error, rounding(kind === "tokens" ? "whole" : kind, 1e-3)]);
  }
  return limits
    .filter(([, error, limit]) => !(error < limit))
    .map(([kind, error, limit]) => `${kind} ${error.toExponential(1)} above ${limit.toExponential(1)}`);
}

type Outcome = "agrees" | "both refuse" | "Graft refuses" | "PEFT refuses" | "differs" | "fails";

/** What became of a run, and why. */
async function outcomeOf(name: string): Promise<readonly [Outcome, string]> {
  const refusal = peftRefusal(name);
  try {
    const lines = await compareFiles(name);
    if (refusal !== undefined) return ["PEFT refuses", refusal];
    if (lines.length > 0) return ["differs", lines.slice(0, 6).join("\n  ")];
    const errors = await replay(gpu, kernels, name);
    const far = tooFar(name, errors);
    if (far.length > 0) return ["differs", far.join(", ")];
    note(errors);
    return ["agrees", ""];
  } catch (thrown) {
    if (!(thrown instanceof GraftError)) return ["fails", String((thrown as Error).stack ?? thrown)];
    if (refusal !== undefined) return ["both refuse", `${thrown.message}\n  ${refusal}`];
    return ["Graft refuses", thrown.message];
  }
}

const counts = new Map<Outcome, number>();
const names = process.argv.length > 2 ? process.argv.slice(2) : readdirSync(RUNS);
for (const name of names) {
  const [outcome, why] = await outcomeOf(name);
  counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  if (outcome !== "agrees") console.log(`${name} ${outcome}: ${why}`);
}
console.log([...counts].map(([outcome, count]) => `${count} ${outcome}`).join(", "));
console.log([...largest].map(([kind, error]) => `${kind} ${error.toExponential(1)}`).join(", "));
node.device.destroy();
