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

/** The weights that LoRA can adapt, by Transformers' module names. A tied head has none of its own, learned positions none that adapts. */
export function ggufNames(config: ModelConfig): GgufNames {
  const { architecture, rotatesNeighbours } = FAMILIES[config.modelType];
  const modules = new Map(describeModules(config).map((module) => [module.name, module]));
  const weights = new Map<string, GgufWeight>();
  const add = (module: string, name: string, pairedHeads?: number) => {
    const { inFeatures, outFeatures, kind } = modules.get(module)!;
    const isEmbedding = kind === "embedding";
    weights.set(module, { name: `${name}.weight`, inFeatures, outFeatures, isEmbedding, pairedHeads });
  };
  const names = modelNames(config);
  for (const [i, layer] of names.layers.entries()) {
    const [query, key, value] = layer.qkv;
    if (key === undefined || value === undefined) add(query!, `blk.${i}.attn_qkv`);
    else {
      add(query!, `blk.${i}.attn_q`, rotatesNeighbours ? config.heads : undefined);
      add(key, `blk.${i}.attn_k`, rotatesNeighbours ? config.keyValueHeads : undefined);
      add(value, `blk.${i}.attn_v`);
    }
    add(layer.output, `blk.${i}.attn_output`);
    if (config.mlpKind === "gated") add(layer.mlpIn[0]!, `blk.${i}.ffn_gate`);
    add(layer.mlpIn.at(-1)!, `blk.${i}.ffn_up`);
    add(layer.mlpOut, `blk.${i}.ffn_down`);
  }
  add(names.embedding, "token_embd");
  if (!config.tied) add(names.head, "output");
  return { architecture, tied: config.tied, weights };
}
