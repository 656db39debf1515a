/** What the rest of Graft knows of a family: its config, whatever dialect it was written in. */
import type { Rotary } from "./rotary.ts";

export const MODEL_TYPES = ["llama", "mistral", "qwen2", "qwen3", "gpt2"] as const;
export type ModelType = (typeof MODEL_TYPES)[number];

/** `gelu_new` stands for every tanh approximation; they differ by rounding alone. */
export type Activation = "silu" | "gelu" | "gelu_new";

/** What a model's config.json says, in one dialect, with nothing left to default. */
export interface ModelConfig {
  readonly modelType: ModelType;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** Per layer: what q·k is multiplied with before the softmax. */
  readonly attentionScale: readonly number[];
  readonly normKind: "rms" | "layer";
  readonly normEps: number;
  readonly activation: Activation;
  /** gated: down(act(gate(x)) ⊙ up(x)); plain: proj(act(fc(x))). */
  readonly mlpKind: "gated" | "plain";
  /** The head's weight is the embedding's. */
  readonly tied: boolean;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm of each head's query and key before the rotation. */
  readonly qkNorm: boolean;
  /** Undefined where positions are learned (GPT-2). */
  readonly rotary: Rotary | undefined;
  /** A hard limit only where positions are learned. */
  readonly maxPositions: number;
  /** Per layer: how many keys a query sees, itself included; undefined where it sees all before it. */
  readonly slidingWindow: readonly (number | undefined)[];
  /** As the config says; the tensors themselves decide. */
  readonly storedDtype: string | undefined;
  /** The dropouts of the base model that are not zero. Graft trains with them off. */
  readonly dropouts: readonly string[];
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | undefined;
}
