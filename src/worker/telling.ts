/** How often the page is told: no more than a person can follow. */
import type { Progress } from "./api.ts";
import { Batches } from "./batches.ts";

/** About what a person sees as one moment. */
const REPORT_INTERVAL_MS = 50;

/** Runs `work`, whose items are handed on in batches, all of them before its end is told. */
export async function gathered<Item, T>(
  send: (items: readonly Item[]) => unknown,
  work: (add: (item: Item) => void) => Promise<T>,
): Promise<T> {
  let delivered: unknown;
  const batches = new Batches<Item>((items) => {
    delivered = send(items);
  }, REPORT_INTERVAL_MS);
  try {
    return await work((item) => batches.add(item));
  } finally {
    batches.flush();
    // A proxy answers once the page has taken it: items travel by another port than the outcome.
    await delivered;
  }
}

/** Tells of each stage now and then. */
export function seldom(tell: (progress: Progress) => void): (progress: Progress) => void {
  let told: { readonly stage: string; readonly atMs: number } | undefined;
  return (progress) => {
    const nowMs = performance.now();
    if (told?.stage === progress.stage && nowMs - told.atMs < REPORT_INTERVAL_MS) return;
    told = { stage: progress.stage, atMs: nowMs };
    tell(progress);
  };
}
