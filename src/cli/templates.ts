import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { build } from "vite";
import { ConfigError } from "../base/errors.ts";
import { type FoundTemplate, findChatTemplate, templateAt } from "../data/chat.ts";
import type { TemplatePort } from "../data/templateWorker.ts";
import { openDirectory } from "./files.ts";

/** The template that a run file names: a .jinja file, or a folder with a tokenizer, as TRL takes them. */
export async function openChatTemplate(path: string | null): Promise<FoundTemplate | undefined> {
  if (path === null) return undefined;
  if (/\.(jinja|j2)$/.test(path)) return templateAt(await openDirectory(dirname(path)), basename(path));
  const found = await findChatTemplate(await openDirectory(path));
  if (found) return found;
  throw new ConfigError(
    "chat-template",
    `train.chat_template_path is "${path}", a folder without a chat template.`,
    "It should hold chat_template.jinja, or a tokenizer_config.json with a chat_template.",
  );
}

/** A template that fills more than this ends its thread, not the command. */
const MEMORY_MB = 256;

let code: Promise<string> | undefined;

/** Starts the templates' thread in Node. */
export async function startTemplateThread(): Promise<TemplatePort> {
  code ??= bundle();
  const thread = new Worker(await code, {
    eval: true,
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB },
  });
  // The command may end while the thread waits for more; while it is awaited, a timer keeps the process.
  thread.unref();
  return {
    post: (call) => thread.postMessage(call),
    listen(onReply, onDeath) {
      thread.on("message", onReply);
      thread.on("error", (thrown) => onDeath(thrown instanceof Error ? thrown.message : String(thrown)));
    },
    terminate: () => void thread.terminate(),
  };
}

/** Not every Node runs TypeScript, and none with what Vite does to it: the thread gets one script. */
async function bundle(): Promise<string> {
  const built = await build({
    configFile: false,
    logLevel: "error",
    publicDir: false,
    build: {
      write: false,
      minify: false,
      ssr: fileURLToPath(new URL("./template-thread.ts", import.meta.url)),
      rolldownOptions: { output: { format: "cjs" } },
    },
    ssr: { noExternal: true },
  });
  const { output } = [built].flat()[0] as { output: readonly { type: string; code?: string }[] };
  return output.find(({ type }) => type === "chunk")!.code!;
}
