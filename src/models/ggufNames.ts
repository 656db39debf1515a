/** How llama.cpp calls the modules of a model. */
import type { GgufNames, GgufWeight } from "../lora/ggufLayout.ts";
import type { ModelConfig, ModelType } from "./modelConfig.ts";
import { describeModules, modelNames } from "./skeleton.ts";

interface GgufFamily {
  readonly architecture: string;
  /** Its rotation takes neighbours, so that q and k have their rows in another order than in Transformers. */
  readonly rotatesNeighbours: boolean;
}

const FAMILIES: Record<ModelType, GgufFamily> = {
  llama: { architecture: "llama", rotatesNeighbours: true },
  mistral: { architecture: "llama", rotatesNeighbours: true },
  qwen2: { architecture: "qwen2", rotatesNeighbours: false },
  qwen3: { architecture: "qwen3", rotatesNeighbours: false },
  gpt2: { architecture: "gpt2", rotatesNeighbours: false },
};

/** A module's name in GGUF, without the parameter's: `blk.0.attn_q`. */
export interface GgufModule {
  readonly name: string;
  /** Heads whose rows llama.cpp has in pairs (`pairRows`); undefined where rows stay. */
  readonly pairedHeads: number | undefined;
}

export function ggufArchitecture(config: ModelConfig): string {
  return FAMILIES[config.modelType].architecture;
}

/** Every module with parameters, by Transformers' names; a head that is tied too. */
export function ggufModules(config: ModelConfig): Map<string, GgufModule> {
  const { rotatesNeighbours } = FAMILIES[config.modelType];
  const modules = new Map<string, GgufModule>();
  const add = (module: string | undefined, name: string, pairedHeads?: number) => {
    if (module !== undefined) modules.set(module, { name, pairedHeads });
  };
  const names = modelNames(config);
  add(names.embedding, "token_embd");
  add(names.positions, "position_embd");
  for (const [i, layer] of names.layers.entries()) {
    const [query, key, value] = layer.qkv;
    add(layer.attentionNorm, `blk.${i}.attn_norm`);
    if (key === undefined) add(query, `blk.${i}.attn_qkv`);
    else {
      add(query, `blk.${i}.attn_q`, rotatesNeighbours ? config.heads : undefined);
      add(key, `blk.${i}.attn_k`, rotatesNeighbours ? config.keyValueHeads : undefined);
      add(value, `blk.${i}.attn_v`);
    }
    add(layer.queryNorm, `blk.${i}.attn_q_norm`);
    add(layer.keyNorm, `blk.${i}.attn_k_norm`);
    add(layer.output, `blk.${i}.attn_output`);
    add(layer.mlpNorm, `blk.${i}.ffn_norm`);
    if (config.mlpKind === "gated") add(layer.mlpIn[0], `blk.${i}.ffn_gate`);
    add(layer.mlpIn.at(-1), `blk.${i}.ffn_up`);
    add(layer.mlpOut, `blk.${i}.ffn_down`);
  }
  add(names.norm, "output_norm");
  add(names.head, "output");
  return modules;
}

/** The weights that LoRA can adapt, by Transformers' module names. A tied head has none of its own, norms and learned positions none that adapts. */
export function ggufNames(config: ModelConfig): GgufNames {
  const { positions, head } = modelNames(config);
  const places = ggufModules(config);
  const weights = new Map<string, GgufWeight>();
  for (const { name: module, kind, inFeatures, outFeatures } of describeModules(config)) {
    const place = places.get(module);
    if (!place || kind === "norm" || module === positions || (module === head && config.tied)) continue;
    const { name, pairedHeads } = place;
    const isEmbedding = kind === "embedding";
    weights.set(module, { name: `${name}.weight`, inFeatures, outFeatures, isEmbedding, pairedHeads });
  }
  return { architecture: ggufArchitecture(config), tied: config.tied, weights };
}
