/**
 * Proof that an export is the model that was trained: what was written is read back and run, and its logits are compared
 * with those of the model as it stands. Nothing is handed over that differs by more than its format rounds.
 */
import { DeviceError, FormatError, GraftError } from "../base/errors.ts";
import type { ModelConfig } from "../models/modelConfig.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import { logitsOf } from "./logits.ts";
import { checkLogits } from "./notNumbers.ts";

/** Differences are the largest of any logit, relative to the largest logit of the model as it runs. */
export interface SelfCheck {
  /** What was written against the model as it runs. */
  readonly difference: number;
  /** The most that the format's rounding may come to. */
  readonly allowed: number;
  /** The base model against the model as it runs: what training has changed. */
  readonly moved: number;
  /** How much of that is in what was written: 1 but for rounding, 0 where it is the base. */
  readonly kept: number;
  /** Tokens whose logits were compared. */
  readonly tokens: number;
}

const ROW_TOKENS = 16;

/**
 * The prompts of a check: what the first rows begin with, and ids spread evenly over the vocabulary, so that all parts
 * of the embedding and of the head count.
 */
export function checkPrompts(
  rows: readonly { readonly ids: Uint32Array }[],
  { vocabSize, maxPositions }: ModelConfig,
): Uint32Array[] {
  const length = Math.min(ROW_TOKENS, vocabSize, maxPositions);
  const spread = Uint32Array.from({ length }, (_, i) => Math.floor(((i + 0.5) * vocabSize) / length));
  return [...rows.slice(0, 2).map(({ ids }) => ids.slice(0, length)), spread];
}

export interface CheckOptions {
  readonly what: string;
  readonly allowed: number;
  /** Its matrices were rounded: a model may be so touchy that this alone comes to more than is allowed. */
  readonly rounded: boolean;
  /** Looked at after each prompt; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Throws FormatError where the logits differ by more than is allowed, are no numbers, or are nearer to the base's than to
 * the trained model's, GraftError "not-finite" where the trained model itself gives no numbers and "all-zero" where these
 * are all zero, and DeviceError where the device has no room for both. `open` gives the model that was read back; it is destroyed here.
 */
export async function compareWritten(
  live: AdaptedModel,
  open: () => Promise<AdaptedModel>,
  prompts: readonly Uint32Array[],
  { what, allowed, rounded, signal }: CheckOptions,
): Promise<SelfCheck> {
  const check = await withoutTrouble(live, async (): Promise<SelfCheck> => {
    const wanted = await allLogits(live, prompts, { signal });
    const base = await allLogits(live, prompts, { signal, asBase: true });
    for (const logits of base) checkLogits(logits, "base");
    for (const logits of wanted) checkLogits(logits, "trained");
    if (wanted.every((logits) => logits.every((logit) => logit === 0))) throw noPreference();
    const written = await open();
    try {
      const found = await allLogits(written, prompts, { signal });
      return {
        difference: largestDifference(found, wanted),
        allowed,
        moved: largestDifference(base, wanted),
        kept: keptShare(found, base, wanted),
        tokens: wanted.length,
      };
    } finally {
      written.destroy();
    }
  });
  // Written so that NaN fails.
  if (!(check.difference <= allowed)) throw notTheModel(what, check, rounded);
  if (!(Math.abs(check.kept - 1) <= 0.5)) throw tooCoarse(what, check);
  return check;
}

/** Norms divide by the size of what they read: where that is infinite, zeros are left. */
function noPreference(): GraftError {
  return new GraftError(
    "all-zero",
    "The trained model gives every token the logit 0: its values have grown beyond what f32 holds, and it is of no use.",
    "Train again with a lower learning_rate.",
  );
}

function notTheModel(what: string, { difference, allowed }: SelfCheck, rounded: boolean): FormatError {
  const remedy = rounded
    ? "Its numbers may be too coarse for this model: take the adapter by itself or a form in f32. Where that is refused " +
      "too, it is a defect in Graft: please report it."
    : "This is a defect in Graft: please report it.";
  return new FormatError(
    "export-check",
    `${what}, read back, gave logits that differ from the trained model's by ${difference.toExponential(1)} of ` +
      `the largest; ${allowed.toExponential(1)} is allowed.`,
    `No file was handed over, and what was trained is untouched. ${remedy}`,
  );
}

/** Rounding is without direction, so it takes nothing from what was trained until that is as small as a rounding. */
function tooCoarse(what: string, { kept, moved }: SelfCheck): FormatError {
  return new FormatError(
    "export-coarse",
    `${what}, read back, holds ${Math.round(100 * kept)} % of what training has changed, which is ${moved.toExponential(1)} ` +
      "of the largest logit: its numbers are too coarse for so small a change.",
    "No file was handed over. Take the adapter by itself or a form in f32, or train on.",
  );
}

/** (found − base)·(wanted − base) / ‖wanted − base‖² over all logits; 1 where nothing was changed. */
export function keptShare(
  found: readonly Float32Array[],
  base: readonly Float32Array[],
  wanted: readonly Float32Array[],
): number {
  let [along, whole] = [0, 0];
  wanted.forEach((row, i) => {
    for (let j = 0; j < row.length; j++) {
      const change = row[j]! - base[i]![j]!;
      along += (found[i]![j]! - base[i]![j]!) * change;
      whole += change * change;
    }
  });
  return whole === 0 ? 1 : along / whole;
}

async function allLogits(
  model: AdaptedModel,
  prompts: readonly Uint32Array[],
  { signal, asBase = false }: Pick<CheckOptions, "signal"> & { readonly asBase?: boolean },
): Promise<Float32Array[]> {
  const logits: Float32Array[] = [];
  for (const ids of prompts) {
    logits.push(...(await logitsOf(model, ids, { asBase })));
    signal?.throwIfAborted();
  }
  return logits;
}

/** Of rows of logits; NaN where any of them is. */
export function largestDifference(found: readonly Float32Array[], wanted: readonly Float32Array[]): number {
  let [difference, largest] = [0, 0];
  wanted.forEach((row, i) => {
    for (let j = 0; j < row.length; j++) {
      difference = Math.max(difference, Math.abs(found[i]![j]! - row[j]!));
      largest = Math.max(largest, Math.abs(row[j]!));
    }
  });
  return difference / largest;
}

/** A device that cannot hold both models says so here; it does not break off the run. */
async function withoutTrouble<T>(live: AdaptedModel, work: () => Promise<T>): Promise<T> {
  const { gpu } = live;
  const { device } = gpu;
  // The trained tensors are there whatever comes of this.
  await live.load();
  const undo = gpu.checkpoint();
  const scopes = ["validation", "out-of-memory"] as const;
  for (const scope of scopes) device.pushErrorScope(scope);
  const [outcome] = await Promise.allSettled([work()]);
  undo();
  const found = await Promise.all(scopes.map(() => device.popErrorScope()));
  const error = found.find((error) => error !== null);
  if (error) throw checkFailed(error);
  if (outcome.status === "rejected") throw outcome.reason;
  return outcome.value;
}

function checkFailed(error: GPUError): DeviceError {
  if (error instanceof GPUOutOfMemoryError) {
    return new DeviceError(
      "export-memory",
      "The GPU has not enough free memory to run what was written beside the trained model, so it could not be checked.",
      "Close other pages that use the GPU, or take the adapter and merge it with `npm run export`.",
    );
  }
  return new DeviceError(
    "device-fault",
    `The GPU refused a command of the export's check: ${error.message}`,
    "This is a defect in Graft or in the browser: please report it, with the name of the GPU.",
  );
}
