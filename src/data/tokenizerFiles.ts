/** What goes with a trained model so that the next tool writes conversations and cuts texts as the training did. */
import type { FileSet } from "../base/bytes.ts";
import { readJsonObject } from "../base/read-json.ts";
import type { FoundTemplate } from "./chat.ts";

const TOKENIZER_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
];

/**
 * The tokenizer's files of a checkpoint's folder, byte for byte, and the chat template that was trained with in place of
 * whatever the folder has. Transformers reads a template's file first, llama.cpp's converter the key in
 * tokenizer_config.json: where that key says otherwise it is left out.
 */
export async function tokenizerFiles(
  files: FileSet,
  trainedWith: FoundTemplate | undefined,
): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  for (const name of TOKENIZER_FILES) {
    const source = files.open(name);
    if (source) found.set(name, await source.read(0, source.size));
  }
  if (!trainedWith) return found;
  const text = new TextEncoder();
  const { template, toolTemplate } = trainedWith;
  found.set("chat_template.jinja", text.encode(template));
  if (toolTemplate !== undefined) {
    found.set("additional_chat_templates/tool_use.jinja", text.encode(toolTemplate));
  }
  const config = files.open("tokenizer_config.json");
  if (!config) return found;
  const { chat_template: stated, ...others } = await readJsonObject(config);
  if (stated !== undefined && stated !== template) {
    found.set("tokenizer_config.json", text.encode(`${JSON.stringify(others, null, 2)}\n`));
  }
  return found;
}
