/** A checkpoint's folder, read as far as a run needs it: config, headers, tokenizer, chat template, how it generates. */
import type { FileSet, StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { readJsonObject } from "../base/read-json.ts";
import { type FoundTemplate, findChatTemplate } from "../data/chat.ts";
import { loadTokenizer, type TextTokenizer } from "../data/tokenizer.ts";
import { openCheckpointTensors } from "../formats/checkpoint.ts";
import { parseModelConfig } from "../models/config.ts";
import { Model } from "../models/model.ts";
import type { ModelConfig } from "../models/modelConfig.ts";
import { readGenerationConfig, type SamplingSettings } from "./samplingSettings.ts";

export interface OpenedModel {
  readonly model: Model;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly tokenizer: TextTokenizer;
  /** Undefined where the model knows no way of its own to write a conversation. */
  readonly template: FoundTemplate | undefined;
  /** Tokens that end an answer: generation_config.json's, or the tokenizer's own. */
  readonly stopIds: ReadonlySet<number>;
  /** How the model is meant to be sampled: generation_config.json's settings, or Transformers' defaults. */
  readonly sampling: SamplingSettings;
}

/** Throws FormatError or ConfigError where it is missing or of a kind that Graft does not know. */
export async function readModelConfig(files: FileSet): Promise<ModelConfig> {
  const source = files.open("config.json");
  if (!source) {
    throw new FormatError(
      "no-config",
      `${files.label} holds no config.json.`,
      "Choose a folder with a Hugging Face checkpoint: config.json, tokenizer.json and .safetensors.",
    );
  }
  return parseModelConfig(await readJsonObject(source));
}

/** Throws FormatError or ConfigError where something is missing or of a kind that Graft does not know. */
export async function openModel(files: FileSet): Promise<OpenedModel> {
  const config = await readModelConfig(files);
  const tensors = await openCheckpointTensors(files);
  const tokenizer = await loadTokenizer(files);
  const { stopIds, ...sampling } = await readGenerationConfig(files);
  return {
    model: new Model(config, tensors),
    tensors,
    tokenizer,
    template: await findChatTemplate(files),
    stopIds: new Set(stopIds.length > 0 ? stopIds : eosIds(tokenizer)),
    sampling,
  };
}

function eosIds(tokenizer: TextTokenizer): readonly number[] {
  return tokenizer.eosToken === undefined ? [] : tokenizer.encodeRendered(tokenizer.eosToken);
}
