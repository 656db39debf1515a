import type { TemplatePort } from "../data/templateWorker.ts";
import moduleUrl from "./template-worker.ts?worker&url";

/**
 * Starts the templates' worker in a browser, out of the training worker. A worker that comes from a blob is under the
 * policy of whoever made it, so it reaches the network no more than the training worker does; one that came by its own
 * address would be under the policy of that address, and the training worker's forbids it.
 */
export function startTemplateWorker(): TemplatePort {
  const module = new URL(moduleUrl, location.origin).href;
  const script = URL.createObjectURL(
    new Blob([`import ${JSON.stringify(module)};`], { type: "text/javascript" }),
  );
  const worker = new Worker(script, { type: "module", name: "templates" });
  return {
    post: (call) => worker.postMessage(call),
    listen(onReply, onDeath) {
      worker.addEventListener("message", ({ data }) => onReply(data));
      worker.addEventListener("error", ({ message }) => onDeath(message || "it could not be started"));
    },
    terminate() {
      worker.terminate();
      URL.revokeObjectURL(script);
    },
  };
}
