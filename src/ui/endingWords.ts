import type { TrainOutcome } from "../worker/api.ts";
import { count } from "./format.ts";

/**
 * Why a run of so many steps ended before its last, unless it diverged, and which step its adapter is of; nothing of one
 * that went to its end.
 */
export function endingWords({ steps, best, adapterStep, diverged }: TrainOutcome, planned: number): string {
  const ends = [];
  if (!diverged && steps < planned)
    ends.push(`Early stopping has ended the run after ${count(steps)} of ${count(planned)} steps.`);
  if (best && (adapterStep < steps || diverged))
    ends.push(
      `The adapter is that of step ${count(adapterStep)}, the best by ${best.metric} (${best.value.toFixed(4)}).`,
    );
  return ends.join(" ");
}
