import type { LoraTarget } from "./selection.ts";

/** What LoRA's update is multiplied by: alpha / r, or alpha / √r with use_rslora. */
export function loraScale(alpha: number, r: number, rankStabilised: boolean): number {
  return rankStabilised ? alpha / Math.sqrt(r) : alpha / r;
}

/** A target whose factors have another rank than the settings say, whose scale goes by the settings' all the same. */
export function ofRank(target: LoraTarget, r: number, rankStabilised: boolean): LoraTarget {
  return r === target.r ? target : { ...target, r, alpha: target.scale / loraScale(1, r, rankStabilised) };
}
