/** How long the page keeps people waiting. */
import type { Browser, Page } from "playwright-core";

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds that the thread itself worked: on a busy machine a task also waits, which is no fault of the page. */
  readonly tdur?: number;
  readonly args: { readonly name?: string };
}

/** The longest task of the page's main thread while `work` is done, in milliseconds of its own work. */
export async function longestTask(
  browser: Browser,
  page: Page,
  work: () => Promise<unknown>,
): Promise<number> {
  await browser.startTracing(page, { categories: ["toplevel"] });
  await work();
  // A task is written down once it has ended, and what `work` waited for may be told before: the next one comes behind it.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
    traceEvents: TraceEvent[];
  };
  const isMain = ({ name, args }: TraceEvent) => name === "thread_name" && args.name === "CrRendererMain";
  const mains = new Set(traceEvents.filter(isMain).map(({ pid, tid }) => `${pid} ${tid}`));
  const tasks = traceEvents.filter(
    ({ name, pid, tid }) => /RunTask$/.test(name) && mains.has(`${pid} ${tid}`),
  );
  if (tasks.length < 3) throw new Error(`The trace holds ${tasks.length} tasks of the page's main thread.`);
  return tasks.reduce((most, { tdur = 0 }) => Math.max(most, tdur / 1000), 0);
}

/**
 * How many times longer the longest task is with much to do than with little. The least of three measurings, or the first
 * below `most`: a busy machine lengthens a task by chance, and what the page does too long is long each time.
 */
export async function timesLonger(
  little: () => Promise<number>,
  much: () => Promise<number>,
  most: number,
): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let measured = 0; measured < 3 && least >= most; measured++) {
    const usual = await little();
    const longest = await much();
    console.info(`Longest task: ${usual} ms with little to do, ${longest} ms with much`);
    least = Math.min(least, longest / usual);
  }
  return least;
}
