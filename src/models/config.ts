import { ConfigError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { ConfigFields } from "./config-fields.ts";
import { parseGpt2 } from "./config-gpt2.ts";
import { parseLlamaLike } from "./config-llama.ts";
import { MODEL_TYPES, type ModelConfig, type ModelType } from "./modelConfig.ts";

/** Reads the config.json of a supported family, as Transformers 4 or 5 writes it. Throws ConfigError. */
export function parseModelConfig(json: unknown, fileName = "config.json"): ModelConfig {
  const fields = new ConfigFields(json, fileName);
  const modelType = fields.json.model_type;
  if (!isModelType(modelType)) {
    const found = `${fileName} has model_type ${show(modelType)}, which Graft cannot train.`;
    throw new ConfigError("model-type", found, `These families work: ${MODEL_TYPES.join(", ")}.`);
  }
  if (!fields.isNull("quantization_config"))
    fields.unsupported("quantization_config", "weights in f32, f16 or bf16");
  if (!fields.isNull("per_layer_config")) fields.unsupported("per_layer_config", "layers that are all alike");
  if (fields.json.is_causal === false) fields.unsupported("is_causal", "causal language models");
  return modelType === "gpt2" ? parseGpt2(fields) : parseLlamaLike(fields, modelType);
}

function isModelType(value: unknown): value is ModelType {
  return (MODEL_TYPES as readonly unknown[]).includes(value);
}
