/** The Modelfile beside a GGUF file, for Ollama. */
import { writeFile } from "node:fs/promises";
import type { FileSet } from "../base/bytes.ts";
import { chatTemplate, findChatTemplate } from "../data/chat.ts";
import { type TurnFrames, turnFrames } from "../data/modelfile.ts";
import type { OpenedModel } from "../train/openModel.ts";
import { startTemplateThread } from "./templates.ts";

/** How the model's template frames turns; the adapter's own template counts before the base's. */
export async function framesOf(
  files: FileSet,
  { template, tokenizer }: OpenedModel,
): Promise<TurnFrames | undefined> {
  const found = (await findChatTemplate(files)) ?? template;
  if (!found) return undefined;
  const chat = chatTemplate(found, tokenizer, startTemplateThread);
  try {
    return await turnFrames(chat, tokenizer);
  } finally {
    chat.close();
  }
}

export async function writeModelfile(gguf: string, text: string): Promise<void> {
  const path = gguf.replace(/\.gguf$/, ".Modelfile");
  await writeFile(path, text);
  console.log(
    `ollama     ${path}${/^TEMPLATE /m.test(text) ? "" : ", without a template: Ollama takes the base's"}`,
  );
}
