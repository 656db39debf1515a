import { ConfigError } from "../base/errors.ts";
import type { ConfigFields } from "./config-fields.ts";
import { MOST_LAYERS, readActivation, readDtype, readTokens } from "./config-shared.ts";
import type { ModelConfig, ModelType } from "./modelConfig.ts";
import { parseRotary } from "./rotary-config.ts";

/** The defaults of Transformers 5.23's configuration classes, and what their models fix in code. */
interface LlamaLike {
  readonly modelType: Exclude<ModelType, "gpt2">;
  readonly vocabSize: number;
  readonly intermediateSize: number;
  /** Where the key is absent. A null gives as many as there are heads, in every family. */
  readonly keyValueHeads: number | "heads";
  readonly headDim: number | "derived";
  readonly maxPositions: number;
  readonly specialTokens: { readonly bos: number | undefined; readonly eos: number[] };
  /** Follows `attention_bias`, or is fixed. */
  readonly qkvBias: "config" | boolean;
  readonly outputBias: "config" | boolean;
  readonly mlpBias: "config" | false;
  readonly qkNorm: boolean;
  /** none: `sliding_window` means nothing; all: it holds for every layer; switched: `use_sliding_window` and layer types. */
  readonly window: "none" | "all" | "switched";
}

const llama: LlamaLike = {
  modelType: "llama",
  vocabSize: 32000,
  intermediateSize: 11008,
  keyValueHeads: "heads",
  headDim: "derived",
  maxPositions: 2048,
  specialTokens: { bos: 1, eos: [2] },
  qkvBias: "config",
  outputBias: "config",
  mlpBias: "config",
  qkNorm: false,
  window: "none",
};

const qwen2: LlamaLike = {
  ...llama,
  modelType: "qwen2",
  vocabSize: 151936,
  intermediateSize: 22016,
  keyValueHeads: 32,
  maxPositions: 32768,
  specialTokens: { bos: undefined, eos: [] },
  qkvBias: true,
  outputBias: false,
  mlpBias: false,
  window: "switched",
};

const LLAMA_LIKE: Record<LlamaLike["modelType"], LlamaLike> = {
  llama,
  mistral: {
    ...llama,
    modelType: "mistral",
    intermediateSize: 14336,
    keyValueHeads: 8,
    maxPositions: 4096 * 32,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    window: "all",
  },
  qwen2,
  qwen3: {
    ...qwen2,
    modelType: "qwen3",
    headDim: 128,
    qkvBias: "config",
    outputBias: "config",
    qkNorm: true,
  },
};

export function parseLlamaLike(fields: ConfigFields, modelType: LlamaLike["modelType"]): ModelConfig {
  const family = LLAMA_LIKE[modelType];
  const hiddenSize = fields.size("hidden_size", 4096);
  const layers = fields.size("num_hidden_layers", 32, MOST_LAYERS);
  const heads = fields.size("num_attention_heads", 32);
  const keyValueHeads = readKeyValueHeads(fields, family, heads);
  const headDim = readHeadDim(fields, family, hiddenSize, heads);
  if (headDim % 2 !== 0) {
    throw new ConfigError(
      "config-head-dim",
      `${fields.fileName} gives heads of ${headDim}; rotation needs an even size.`,
    );
  }
  const maxPositions = fields.size("max_position_embeddings", family.maxPositions);
  const attentionBias = fields.boolean("attention_bias", false);
  const bias = (rule: "config" | boolean) => (rule === "config" ? attentionBias : rule);
  return {
    modelType: family.modelType,
    vocabSize: fields.size("vocab_size", family.vocabSize),
    hiddenSize,
    intermediateSize: fields.size("intermediate_size", family.intermediateSize),
    layers,
    heads,
    keyValueHeads,
    headDim,
    attentionScale: new Array<number>(layers).fill(headDim ** -0.5),
    normKind: "rms",
    normEps: fields.positive("rms_norm_eps", 1e-6),
    activation: readActivation(fields, "hidden_act", "silu", ["silu"]),
    mlpKind: "gated",
    tied: fields.boolean("tie_word_embeddings", false),
    qkvBias: bias(family.qkvBias),
    outputBias: bias(family.outputBias),
    mlpBias: family.mlpBias === "config" && fields.boolean("mlp_bias", false),
    qkNorm: family.qkNorm,
    rotary: parseRotary(fields, maxPositions),
    maxPositions,
    slidingWindow: readWindows(fields, family, layers),
    storedDtype: readDtype(fields),
    dropouts: fields.rate("attention_dropout", 0) > 0 ? ["attention_dropout"] : [],
    ...readTokens(fields, family.specialTokens.bos, family.specialTokens.eos),
  };
}

function readKeyValueHeads(fields: ConfigFields, family: LlamaLike, heads: number): number {
  const absent = family.keyValueHeads === "heads" ? heads : family.keyValueHeads;
  const isNull = fields.has("num_key_value_heads") && fields.isNull("num_key_value_heads");
  const keyValueHeads = isNull ? heads : fields.size("num_key_value_heads", absent);
  if (heads % keyValueHeads !== 0) {
    const found = `${fields.fileName} gives ${heads} heads over ${keyValueHeads} key/value heads`;
    throw new ConfigError("config-heads", `${found}; the first must be a multiple of the second.`);
  }
  return keyValueHeads;
}

function readHeadDim(fields: ConfigFields, family: LlamaLike, hiddenSize: number, heads: number): number {
  if (family.modelType === "llama" && hiddenSize % heads !== 0) {
    const found = `${fields.fileName} gives hidden_size ${hiddenSize} and ${heads} heads`;
    throw new ConfigError("config-heads", `${found}; the first must be a multiple of the second.`);
  }
  if (family.headDim !== "derived") return fields.size("head_dim", family.headDim);
  const derived = fields.optionalSize("head_dim") ?? Math.floor(hiddenSize / heads);
  if (derived >= 1) return derived;
  throw new ConfigError(
    "config-heads",
    `${fields.fileName} gives ${heads} heads, hidden_size is only ${hiddenSize}.`,
  );
}

function readWindows(fields: ConfigFields, family: LlamaLike, layers: number): (number | undefined)[] {
  const everywhere = (window: number | undefined) => new Array<number | undefined>(layers).fill(window);
  if (family.window === "none") return everywhere(undefined);
  const window = fields.has("sliding_window") ? fields.optionalSize("sliding_window") : 4096;
  if (family.window === "all") return everywhere(window);
  const inUse = fields.boolean("use_sliding_window", false) ? window : undefined;
  if (fields.isNull("layer_types")) {
    const from = fields.has("max_window_layers") ? readLayerCount(fields) : 28;
    return everywhere(undefined).map((_, layer) => (layer >= from ? inUse : undefined));
  }
  const types = fields.json.layer_types;
  if (!Array.isArray(types) || types.length !== layers) {
    return fields.wrong("layer_types", `a list of ${layers}, one for each of num_hidden_layers`);
  }
  return types.map((type) => {
    // "attention" is how older configs say it.
    if (type === "full_attention" || type === "attention") return undefined;
    if (type !== "sliding_attention")
      return fields.unsupported("layer_types", "full_attention, sliding_attention");
    if (inUse !== undefined) return inUse;
    return fields.wrong(
      "layer_types",
      "no sliding_attention while use_sliding_window is off or sliding_window null",
    );
  });
}

/** `max_window_layers` may be 0: then every layer slides. */
function readLayerCount(fields: ConfigFields): number {
  return fields.json.max_window_layers === 0 ? 0 : fields.size("max_window_layers", 28);
}
