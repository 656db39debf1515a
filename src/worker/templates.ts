import { GraftError } from "../base/errors.ts";
import type { TemplatePort } from "../data/templateWorker.ts";
import moduleUrl from "./template-worker.ts?worker&url";

/**
 * Starts the templates' worker in a browser, out of the training worker. A worker that comes from a blob is under the
 * policy of whoever made it, so it reaches the network no more than the training worker does; one that came by its own
 * address would be under the policy of that address, and the training worker's forbids it.
 */
export async function startTemplateWorker(): Promise<TemplatePort> {
  const module = new URL(moduleUrl, location.origin).href;
  // Imported while it runs: what a worker imports before counts as a worker, and those come from blobs alone.
  const script = URL.createObjectURL(
    new Blob([`import(${JSON.stringify(module)}).catch(reportError);`], { type: "text/javascript" }),
  );
  const worker = new Worker(script, { type: "module", name: "templates" });
  try {
    await started(worker);
  } finally {
    URL.revokeObjectURL(script);
  }
  return {
    post: (call) => worker.postMessage(call),
    listen(onReply, onDeath) {
      worker.addEventListener("message", ({ data }) => onReply(data));
      worker.addEventListener("error", ({ message }) => onDeath(message));
    },
    terminate: () => worker.terminate(),
  };
}

function started(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.addEventListener("message", () => resolve(), { once: true });
    worker.addEventListener("error", ({ message }) => {
      const why = message ? `: ${message}` : "";
      reject(
        new GraftError("worker", `The worker for chat templates did not start${why}.`, "Reload the page."),
      );
    });
  });
}
