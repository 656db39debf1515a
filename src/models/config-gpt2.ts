import { ConfigError } from "../base/errors.ts";
import type { ConfigFields } from "./config-fields.ts";
import { MOST_LAYERS, readActivation, readDtype, readTokens } from "./config-shared.ts";
import type { ModelConfig } from "./modelConfig.ts";

export function parseGpt2(fields: ConfigFields): ModelConfig {
  // GPT2Config knows these under both names; the newer ones are set later and win.
  const named = (newer: string, older: string, fallback: number, largest?: number) =>
    fields.size(newer, fields.size(older, fallback, largest), largest);
  const hiddenSize = named("hidden_size", "n_embd", 768);
  const heads = named("num_attention_heads", "n_head", 12);
  const layers = named("num_hidden_layers", "n_layer", 12, MOST_LAYERS);
  if (hiddenSize % heads !== 0) {
    const found = `${fields.fileName} gives n_embd ${hiddenSize} and ${heads} heads`;
    throw new ConfigError("config-heads", `${found}; the first must be a multiple of the second.`);
  }
  if (fields.boolean("reorder_and_upcast_attn", false)) {
    fields.unsupported("reorder_and_upcast_attn", "attention in its plain order");
  }
  if (fields.boolean("add_cross_attention", false)) {
    fields.unsupported("add_cross_attention", "a decoder without an encoder");
  }
  const headDim = hiddenSize / heads;
  const scale = fields.boolean("scale_attn_weights", true) ? headDim ** -0.5 : 1;
  const byLayer = fields.boolean("scale_attn_by_inverse_layer_idx", false);
  return {
    modelType: "gpt2",
    vocabSize: fields.size("vocab_size", 50257),
    hiddenSize,
    intermediateSize: fields.optionalSize("n_inner") ?? 4 * hiddenSize,
    layers,
    heads,
    keyValueHeads: heads,
    headDim,
    attentionScale: Array.from({ length: layers }, (_, layer) => (byLayer ? scale / (layer + 1) : scale)),
    normKind: "layer",
    normEps: fields.positive("layer_norm_epsilon", 1e-5),
    activation: readActivation(fields, "activation_function", "gelu_new", ["gelu", "gelu_new"]),
    mlpKind: "plain",
    tied: fields.boolean("tie_word_embeddings", true),
    qkvBias: true,
    outputBias: true,
    mlpBias: true,
    qkNorm: false,
    rotary: undefined,
    maxPositions: named("max_position_embeddings", "n_positions", 1024),
    slidingWindow: new Array<undefined>(layers).fill(undefined),
    storedDtype: readDtype(fields),
    dropouts: ["embd_pdrop", "attn_pdrop", "resid_pdrop"].filter((name) => fields.rate(name, 0.1) > 0),
    ...readTokens(fields, 50256, [50256]),
  };
}
