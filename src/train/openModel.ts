/** A checkpoint's folder, read as far as a run needs it: config, headers, tokenizer, chat template, how it generates. */
import type { FileSet, StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import { type FoundTemplate, findChatTemplate } from "../data/chat.ts";
import { loadTokenizer, type TextTokenizer } from "../data/tokenizer.ts";
import { openCheckpointTensors } from "../formats/checkpoint.ts";
import { parseModelConfig } from "../models/config.ts";
import { Model } from "../models/transformer.ts";

export interface OpenedModel {
  readonly model: Model;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly tokenizer: TextTokenizer;
  /** Undefined where the model knows no way of its own to write a conversation. */
  readonly template: FoundTemplate | undefined;
  /** Tokens that end an answer: generation_config.json's, or the tokenizer's own. */
  readonly stopIds: ReadonlySet<number>;
}

/** Throws FormatError or ConfigError where something is missing or of a kind that Graft does not know. */
export async function openModel(files: FileSet): Promise<OpenedModel> {
  const source = files.open("config.json");
  if (!source) {
    throw new FormatError(
      "no-config",
      `${files.label} holds no config.json.`,
      "Choose a folder with a Hugging Face checkpoint: config.json, tokenizer.json and .safetensors.",
    );
  }
  const config = parseModelConfig(await readJsonObject(source));
  const tensors = await openCheckpointTensors(files);
  const tokenizer = await loadTokenizer(files);
  const generation = files.open("generation_config.json");
  return {
    model: new Model(config, tensors),
    tensors,
    tokenizer,
    template: await findChatTemplate(files),
    stopIds: stopIdsOf(generation ? await readJsonObject(generation) : {}, tokenizer),
  };
}

function stopIdsOf({ eos_token_id: given }: JsonObject, tokenizer: TextTokenizer): Set<number> {
  const ids = [given].flat().filter((id): id is number => typeof id === "number");
  if (ids.length > 0) return new Set(ids);
  return new Set(tokenizer.eosToken === undefined ? [] : tokenizer.encodeRendered(tokenizer.eosToken));
}
