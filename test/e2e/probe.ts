import type { Page } from "playwright-core";

export interface Attempt {
  reached: boolean;
  what: unknown;
}

export interface ProbeReport {
  architecture: string | undefined;
  fetch: Attempt;
  socket: Attempt;
  worker: Attempt;
}

/** What a dedicated worker served under this name can reach. */
export function probeWorker(
  page: Page,
  file: "probe-worker.js" | "train-worker-probe.js",
): Promise<ProbeReport> {
  return page.evaluate(
    (path) =>
      new Promise<ProbeReport>((resolve, reject) => {
        const worker = new Worker(path, { type: "module" });
        worker.addEventListener("message", (event) => resolve(event.data));
        worker.addEventListener("error", (event) => reject(new Error(`worker failed: ${event.message}`)));
      }),
    `/fixtures/${file}`,
  );
}
