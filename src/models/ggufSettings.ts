/** A model's sizes and settings as llama.cpp reads them. What it would compute otherwise is refused. */
import { ConfigError } from "../base/errors.ts";
import type { GgufValue } from "../formats/gguf-values.ts";
import { ggufArchitecture } from "./ggufNames.ts";
import type { ModelConfig } from "./modelConfig.ts";
import { inverseFrequencies, type Rotary } from "./rotary.ts";

/** The keys of GGUF's metadata that begin with the architecture's name. Throws ConfigError. */
export function ggufSettings(config: ModelConfig): Map<string, GgufValue> {
  refuseUnknown(config);
  const architecture = ggufArchitecture(config);
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const f32 = (value: number): GgufValue => ({ type: "f32", value });
  const isRms = config.normKind === "rms";
  const settings: [string, GgufValue][] = [
    ["vocab_size", u32(config.vocabSize)],
    ["context_length", u32(ggufContext(config))],
    ["embedding_length", u32(config.hiddenSize)],
    ["block_count", u32(config.layers)],
    ["feed_forward_length", u32(config.intermediateSize)],
    ["attention.head_count", u32(config.heads)],
    ["attention.head_count_kv", u32(config.keyValueHeads)],
    ["attention.key_length", u32(config.headDim)],
    ["attention.value_length", u32(config.headDim)],
    [isRms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", f32(config.normEps)],
  ];
  if (config.rotary) {
    settings.push(
      ["rope.dimension_count", u32(config.headDim)],
      ["rope.freq_base", f32(config.rotary.theta)],
    );
    settings.push(...scaling(config.rotary));
  }
  return new Map(settings.map(([key, value]) => [`${architecture}.${key}`, value]));
}

/** The longest context that llama.cpp is given: it knows no window for these families, and within one the models are the same. */
export function ggufContext({ maxPositions, slidingWindow }: ModelConfig): number {
  return Math.min(maxPositions, ...slidingWindow.map((window) => window ?? maxPositions));
}

function scaling(rotary: Rotary): [string, GgufValue][] {
  switch (rotary.type) {
    case "default":
    // Its stretched frequencies are a tensor of their own.
    case "llama3":
      return [];
    case "linear":
      return [
        ["rope.scaling.type", { type: "string", value: "linear" }],
        ["rope.scaling.factor", { type: "f32", value: rotary.factor }],
      ];
    case "yarn":
      return [
        ["rope.scaling.type", { type: "string", value: "yarn" }],
        ["rope.scaling.factor", { type: "f32", value: rotary.factor }],
        ["rope.scaling.original_context_length", { type: "u32", value: rotary.originalMaxPositions }],
        // On top of what llama.cpp multiplies by anyway.
        ["rope.scaling.attn_factor", { type: "f32", value: rotary.attentionFactor / usualFactor(rotary) }],
      ];
    default:
      return rotary satisfies never;
  }
}

function usualFactor({ factor }: { readonly factor: number }): number {
  return factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1;
}

/** By what each frequency is divided, [headDim / 2]: `rope_freqs.weight`. Undefined where no such tensor belongs into the file. */
export function frequencyDivisors({ rotary, headDim }: ModelConfig): Float32Array | undefined {
  if (rotary?.type !== "llama3") return undefined;
  const stretched = inverseFrequencies(rotary, headDim);
  const plain = inverseFrequencies({ type: "default", theta: rotary.theta }, headDim);
  return plain.map((frequency, i) => frequency / stretched[i]!);
}

/** llama.cpp takes these from whoever runs the model, not from the file. */
function isUsualYarn({ betaFast, betaSlow, truncate }: Extract<Rotary, { type: "yarn" }>): boolean {
  return betaFast === 32 && betaSlow === 1 && truncate;
}

function refuseUnknown(config: ModelConfig): void {
  const { modelType, headDim, rotary } = config;
  const what = [
    [
      config.attentionScale.some((scale) => scale !== headDim ** -0.5),
      "scales its attention otherwise than by 1/√(head dim)",
    ],
    [config.activation === "gelu", "has the exact gelu for its activation, where llama.cpp has gelu_new"],
    [modelType === "qwen3" && config.qkvBias, "has biases in its attention, which llama.cpp's qwen3 has not"],
    [
      (modelType === "qwen2" || modelType === "gpt2") && config.heads * headDim !== config.hiddenSize,
      "has heads that together are not as wide as its hidden states",
    ],
    [
      rotary?.type === "yarn" && !isUsualYarn(rotary),
      "has a yarn of its own beta_fast, beta_slow or truncate",
    ],
  ].find(([is]) => is);
  if (!what) return;
  throw new ConfigError(
    "gguf-model",
    `The base model ${what[1]}: a GGUF file cannot say so.`,
    "Hand on the merged checkpoint instead (merged), for tools that read Hugging Face's folders.",
  );
}
