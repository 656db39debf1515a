import type { JsonObject } from "../base/json.ts";
import { loraKey, startKey } from "./adapterKeys.ts";
import type { LoraConfig } from "./config.ts";
import { patternsFor } from "./exportConfig.ts";
import type { Selection } from "./selection.ts";
import type { Adapter } from "./strength.ts";

/** What an adapter's files are made of. */
export interface AdapterContent {
  /** adapter_config.json. */
  readonly json: JsonObject;
  readonly selection: Selection;
  /** By PEFT's key; of modules that begin as a part of the base, what they began as, too (`startKey`). */
  readonly values: ReadonlyMap<string, Float32Array>;
}

/**
 * What an adapter whose A and B began as a part of W does, as LoRA of twice the rank on the untouched W:
 *
 *   A' = [A; A₀] [2r, in]      B' = [B | −B₀] [out, 2r]      s·B'·A' = s·(B·A − B₀·A₀)
 *
 * PEFT's `subtract_mutated_init` makes the same. What else there is stays as it is: DoRA's magnitudes too, since
 * W + s·B'·A' is the matrix whose rows they stretched. `config` is what `json` says, with its defaults.
 */
export function plainLora(content: AdapterContent, config: LoraConfig): AdapterContent {
  const { json, selection } = content;
  if (selection.lora.every(({ fromBase }) => fromBase === null)) return content;
  const alphaOf = (alpha: number) => (config.use_rslora ? alpha * Math.SQRT2 : alpha * 2);
  const plain = plainFactors(content);
  const lora = plain.selection.lora.map((target, i) => {
    const { fromBase, alpha } = selection.lora[i]!;
    return fromBase === null ? target : { ...target, alpha: alphaOf(alpha) };
  });
  const [r, alpha] = [2 * config.r, alphaOf(config.lora_alpha)];
  const ranks = mapped(config.rank_pattern, (rank) => 2 * rank);
  const alphas = mapped(config.alpha_pattern, alphaOf);
  return {
    json: {
      ...json,
      init_lora_weights: true,
      r,
      lora_alpha: alpha,
      rank_pattern: patternsFor(lora, ranks, r, (target) => target.r),
      alpha_pattern: patternsFor(lora, alphas, alpha, (target) => target.alpha),
    },
    selection: { ...selection, lora },
    values: plain.values,
  };
}

/** The same of what is to run and not to be saved: its scales count, its alphas do not. */
export function plainFactors({ selection, values }: Adapter): Adapter {
  const plain = new Map(values);
  const lora = selection.lora.map((target) => {
    if (target.fromBase === null) return target;
    const { name } = target.module;
    const [a, b] = [loraKey(name, "lora_A"), loraKey(name, "lora_B")];
    const [startA, startB] = [startKey(name, "lora_A"), startKey(name, "lora_B")];
    plain.set(a, joined(values.get(a)!, values.get(startA)!));
    plain.set(b, besides(values.get(b)!, values.get(startB)!, target.r));
    plain.delete(startA);
    plain.delete(startB);
    return { ...target, r: 2 * target.r, fromBase: null };
  });
  return { selection: { ...selection, lora }, values: plain };
}

function mapped(pattern: Readonly<Record<string, number>>, change: (value: number) => number) {
  return Object.fromEntries(Object.entries(pattern).map(([key, value]) => [key, change(value)]));
}

/** The rows of one below the other's. */
function joined(above: Float32Array, below: Float32Array): Float32Array {
  const both = new Float32Array(above.length + below.length);
  both.set(above);
  both.set(below, above.length);
  return both;
}

/** [rows, 2·width] of two [rows, width]. */
function besides(left: Float32Array, right: Float32Array, width: number): Float32Array {
  const both = new Float32Array(left.length + right.length);
  for (let at = 0; at < left.length; at += width) {
    both.set(left.subarray(at, at + width), 2 * at);
    both.set(right.subarray(at, at + width), 2 * at + width);
  }
  return both;
}
