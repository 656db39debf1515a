/** What the first step has moved, in plain words. */
import type { AuditReport } from "../worker/api.ts";
import { count } from "./format.ts";

export interface AuditWords {
  readonly isFine: boolean;
  readonly verdict: string;
  readonly faults: readonly string[];
  /** Why some tensors need not have moved. */
  readonly notes: readonly string[];
}

/** So many faults of a kind are named. */
const NAMED = 5;

export function auditWords({ step, audit: { tensors, frozen } }: AuditReport): AuditWords {
  const moved = tensors.filter(({ change }) => change > 0).length;
  const stuck = tensors.filter(({ verdict }) => verdict === "stuck").map(({ tensor }) => tensor);
  const strayed = tensors.filter(({ verdict }) => verdict === "strayed").map(({ tensor }) => tensor);
  const faults = [
    ...named(stuck, "should have moved, and did not"),
    ...named(strayed, "moved, and should not have"),
    ...named(frozen.changed, "is frozen, and is no longer what it was"),
  ];
  const resting = tensors.filter(({ change, verdict }) => change === 0 && verdict === "ok");
  const reasons = [...new Set(resting.flatMap(({ because }) => because ?? []))];
  const notes = reasons.map((reason) => {
    const alike = resting.filter(({ because }) => because === reason).length;
    return `${count(alike)} ${alike === 1 ? "rests" : "rest"}: ${reason}.`;
  });
  const isFine = faults.length === 0;
  const others = isFine
    ? `nothing else did, the base's ${count(frozen.tensors)} tensors on the device are as they were`
    : "something is wrong";
  return {
    ...{ isFine, faults, notes },
    verdict: `After step ${count(step)}, ${count(moved)} of ${count(tensors.length)} tensors ${moved === 1 ? "has" : "have"} moved; ${others}.`,
  };
}

function named(tensors: readonly string[], what: string): string[] {
  const more = tensors.length - NAMED;
  return [
    ...tensors.slice(0, NAMED).map((tensor) => `${tensor} ${what}.`),
    ...(more > 0 ? [`So it is with ${count(more)} more.`] : []),
  ];
}
