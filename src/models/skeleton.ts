/** The modules of a model as Transformers names them, in the order of PyTorch's `named_modules`. */
import type { ModuleDescriptor } from "../lora/modules.ts";
import type { ModelConfig } from "./modelConfig.ts";

/** Names of the modules of one layer, by what they do. Modules of one list share their input. */
export interface LayerNames {
  readonly attentionNorm: string;
  readonly qkv: readonly string[];
  readonly queryNorm?: string;
  readonly keyNorm?: string;
  readonly output: string;
  readonly mlpNorm: string;
  readonly mlpIn: readonly string[];
  readonly mlpOut: string;
}

export interface ModelNames {
  readonly embedding: string;
  readonly positions?: string;
  readonly layers: readonly LayerNames[];
  readonly norm: string;
  readonly head: string;
}

export function modelNames(config: ModelConfig): ModelNames {
  const layers = Array.from({ length: config.layers }, (_, i) =>
    config.modelType === "gpt2"
      ? gpt2Layer(`transformer.h.${i}`)
      : llamaLayer(`model.layers.${i}`, config.qkNorm),
  );
  return config.modelType === "gpt2"
    ? {
        embedding: "transformer.wte",
        positions: "transformer.wpe",
        layers,
        norm: "transformer.ln_f",
        head: "lm_head",
      }
    : { embedding: "model.embed_tokens", layers, norm: "model.norm", head: "lm_head" };
}

function llamaLayer(at: string, qkNorm: boolean): LayerNames {
  return {
    attentionNorm: `${at}.input_layernorm`,
    qkv: ["q_proj", "k_proj", "v_proj"].map((name) => `${at}.self_attn.${name}`),
    ...(qkNorm ? { queryNorm: `${at}.self_attn.q_norm`, keyNorm: `${at}.self_attn.k_norm` } : {}),
    output: `${at}.self_attn.o_proj`,
    mlpNorm: `${at}.post_attention_layernorm`,
    mlpIn: ["gate_proj", "up_proj"].map((name) => `${at}.mlp.${name}`),
    mlpOut: `${at}.mlp.down_proj`,
  };
}

function gpt2Layer(at: string): LayerNames {
  return {
    attentionNorm: `${at}.ln_1`,
    qkv: [`${at}.attn.c_attn`],
    output: `${at}.attn.c_proj`,
    mlpNorm: `${at}.ln_2`,
    mlpIn: [`${at}.mlp.c_fc`],
    mlpOut: `${at}.mlp.c_proj`,
  };
}

/** Every module, with its shapes; those without parameters are there because patterns may name them. */
export function describeModules(config: ModelConfig): ModuleDescriptor[] {
  const { hiddenSize: d, vocabSize: v, intermediateSize: ff, headDim } = config;
  const queries = config.heads * headDim;
  const keys = config.keyValueHeads * headDim;
  const names = modelNames(config);
  const embedding = (name: string, rows: number): ModuleDescriptor => ({
    name,
    kind: "embedding",
    inFeatures: rows,
    outFeatures: d,
    parameters: { weight: [rows, d] },
  });
  const norm = (name: string, width = d): ModuleDescriptor => ({
    name,
    kind: "norm",
    inFeatures: width,
    outFeatures: width,
    parameters: config.normKind === "layer" ? { weight: [width], bias: [width] } : { weight: [width] },
  });
  const linear = (
    name: string,
    inFeatures: number,
    outFeatures: number,
    bias: boolean,
  ): ModuleDescriptor => ({
    name,
    kind: config.modelType === "gpt2" ? "conv1d" : "linear",
    inFeatures,
    outFeatures,
    parameters: {
      weight: config.modelType === "gpt2" ? [inFeatures, outFeatures] : [outFeatures, inFeatures],
      ...(bias ? { bias: [outFeatures] } : {}),
    },
  });
  const other = (name: string): ModuleDescriptor => ({
    name,
    kind: "other",
    inFeatures: 0,
    outFeatures: 0,
    parameters: {},
  });

  const layers = names.layers.flatMap((layer, i): ModuleDescriptor[] => {
    if (config.modelType === "gpt2") {
      const at = `transformer.h.${i}`;
      return [
        norm(layer.attentionNorm),
        linear(layer.qkv[0]!, d, 3 * d, true),
        linear(layer.output, d, d, true),
        other(`${at}.attn.attn_dropout`),
        other(`${at}.attn.resid_dropout`),
        norm(layer.mlpNorm),
        linear(layer.mlpIn[0]!, d, ff, true),
        linear(layer.mlpOut, ff, d, true),
        other(`${at}.mlp.act`),
        other(`${at}.mlp.dropout`),
      ];
    }
    return [
      linear(layer.qkv[0]!, d, queries, config.qkvBias),
      linear(layer.qkv[1]!, d, keys, config.qkvBias),
      linear(layer.qkv[2]!, d, keys, config.qkvBias),
      linear(layer.output, queries, d, config.outputBias),
      ...(layer.queryNorm && layer.keyNorm
        ? [norm(layer.queryNorm, headDim), norm(layer.keyNorm, headDim)]
        : []),
      linear(layer.mlpIn[0]!, d, ff, config.mlpBias),
      linear(layer.mlpIn[1]!, d, ff, config.mlpBias),
      linear(layer.mlpOut, ff, d, config.mlpBias),
      other(`model.layers.${i}.mlp.act_fn`),
      norm(layer.attentionNorm),
      norm(layer.mlpNorm),
    ];
  });
  const head: ModuleDescriptor = {
    name: names.head,
    kind: "head",
    ...(config.tied ? { tiedTo: names.embedding } : {}),
    inFeatures: d,
    outFeatures: v,
    parameters: { weight: [v, d] },
  };
  return [
    embedding(names.embedding, v),
    ...(names.positions ? [embedding(names.positions, config.maxPositions), other("transformer.drop")] : []),
    ...layers,
    norm(names.norm),
    ...(config.rotary ? [other("model.rotary_emb")] : []),
    head,
  ];
}
