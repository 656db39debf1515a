/** Which tensors the first steps must move, and which they must leave alone: what a run is audited by. */
import { tokensRead } from "../data/inputs.ts";
import type { TokenisedRow } from "../data/tokenisedRow.ts";
import { type AdapterEntry, otherHalf } from "../lora/adapterKeys.ts";
import type { Selection } from "../lora/selection.ts";
import type { Model } from "../models/model.ts";
import { modelNames } from "../models/skeleton.ts";
import type { GroupRates } from "./parameterGroups.ts";

/** `either`: whether rounding leaves anything of so small a change is not known beforehand. */
export interface Expected {
  readonly moves: "yes" | "no" | "either";
  /** Why it is not `yes`. */
  readonly because: string | null;
}

export interface FirstSteps {
  readonly model: Model;
  readonly selection: Selection;
  /** Where tensors start from, by PEFT's key. */
  readonly initial: ReadonlyMap<string, Float32Array>;
  /** The rows of all these steps. */
  readonly rows: readonly TokenisedRow[];
  /** Of each learning rate, in the last of these steps; in those before it is zero. */
  readonly factor: number;
}

/** The least relative change of an f32 that rounding is sure to leave. */
const F32_STEP = 2 ** -23;

export function expectedOf(entry: AdapterEntry, rates: GroupRates, steps: FirstSteps): Expected {
  const { initial, factor } = steps;
  const start = initial.get(entry.key)!;
  if (rates.lr === 0) return { moves: "no", because: "its learning rate is 0" };
  if (factor === 0) return { moves: "no", because: "the schedule's learning rate is still 0" };
  const rate = rates.lr * factor;
  const missing = missingGradient(entry, steps);
  if (missing !== undefined) {
    const decays = rate * rates.weight_decay >= F32_STEP && start.some((value) => value !== 0);
    if (decays) return { moves: "yes", because: null };
    return { moves: rates.weight_decay > 0 ? "either" : "no", because: missing };
  }
  if (isUnsure(entry, steps)) {
    return { moves: "either", because: "no token attends to another, so rounding alone is its gradient" };
  }
  const least = start.reduce((least, value) => Math.min(least, Math.abs(value)), Number.POSITIVE_INFINITY);
  // AdamW's first step is about as long as its learning rate, whatever the gradient.
  if (rate < least * F32_STEP) return { moves: "either", because: "its learning rate is below its rounding" };
  return { moves: "yes", because: null };
}

/** Why a tensor's gradient is zero to the bit, where it is. */
function missingGradient(
  entry: AdapterEntry,
  { selection, initial, rows, model }: FirstSteps,
): string | undefined {
  const other = otherHalf(entry.key);
  if (other !== undefined && initial.get(other)!.every((value) => value === 0)) {
    return `lora_${entry.part === "lora_A" ? "B" : "A"} is still zero, and no gradient passes it`;
  }
  if (entry.part !== "tokens") return undefined;
  const used = selection.tokens.filter(({ key }) => key === entry.key);
  const isSeen = used.some(({ module, indices }) => {
    // A head's rows all have a share in every loss.
    if (module.kind === "head") return true;
    const isPosition = module.name === modelNames(model.config).positions;
    const seen = new Set(
      rows.flatMap((row) => [...(isPosition ? row.ids.keys() : row.ids)].slice(0, tokensRead(row))),
    );
    return indices.some((index) => seen.has(index));
  });
  return isSeen ? undefined : "none of its tokens was read";
}

/** With one key for every query the softmax is 1: no gradient but rounding comes to queries and keys. */
function isUnsure(entry: AdapterEntry, { model, rows }: FirstSteps): boolean {
  if (rows.some((row) => tokensRead(row) > 1)) return false;
  return modelNames(model.config).layers.some(({ qkv, queryNorm, keyNorm }) => {
    const queriesAndKeys = qkv.length > 1 ? qkv.slice(0, 2) : [];
    return [...queriesAndKeys, queryNorm, keyNorm].includes(entry.module);
  });
}
