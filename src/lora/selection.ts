/** What of a model trains: what `selectModules` and all that add to it come to. */
import type { ModuleDescriptor } from "./modules.ts";

/** A module that LoRA adapts: y += scale·(x·Aᵀ)·Bᵀ with A [r, in], B [out, r]. */
export interface LoraTarget {
  readonly module: ModuleDescriptor;
  readonly r: number;
  readonly alpha: number;
  /** alpha / r, or alpha / √r with use_rslora. */
  readonly scale: number;
  /** B has a bias of its own, [out], by lora_bias. */
  readonly hasBias: boolean;
  /** The embedding whose factors it has, turned, by ensure_weight_tying: A is that one's Bᵀ, and B its Aᵀ. */
  readonly tiedTo?: ModuleDescriptor;
  /** Each row of W, or each feature of an embedding, has a magnitude, [out], by use_dora. */
  readonly hasMagnitude: boolean;
  /** init_lora_weights where A and B begin as a part of W, which counts as taken out of it; null otherwise. */
  readonly fromBase: string | null;
}

/** A parameter of the base model that trains as it is, beside LoRA. */
export interface WholeTensor {
  readonly module: ModuleDescriptor;
  /** `weight` or `bias`. A weight may train while its bias does not, and the other way round. */
  readonly parameter: string;
  /** PEFT's name of it. */
  readonly key: string;
  /** The key of the tensor that it is, by ensure_weight_tying: PEFT saves one tensor under two names. */
  readonly tiedTo?: string;
}

/** Rows of an embedding or of the head that train by themselves, in the place of the base model's. */
export interface TokenRows {
  readonly module: ModuleDescriptor;
  /** Row i of the tensor stands for row indices[i] of the module's weight. */
  readonly indices: readonly number[];
  /** PEFT's name of the tensor [indices, width]. A tied head has the rows of the embedding, and so its key. */
  readonly key: string;
}

/** What patterns have added to a selection. */
export interface RequiresGrad {
  /** Those of `whole` that train by a pattern alone. */
  readonly added: readonly WholeTensor[];
  /** Tensors that do not train, and that PEFT's file holds beside these. */
  readonly beside: readonly WholeTensor[];
}

export interface Selection {
  /** In the order of the model. */
  readonly lora: readonly LoraTarget[];
  /** Those of modules_to_save in the order of the model, then those of `bias`, then those of requires_grad. */
  readonly whole: readonly WholeTensor[];
  /** Rows that train by trainable_token_indices, in the order of the model. */
  readonly tokens: readonly TokenRows[];
  /** Where there are patterns in requires_grad. */
  readonly requiresGrad?: RequiresGrad;
  /** target_modules as PEFT would save it: defaults and `all-linear` become names. */
  readonly targetModules: string | readonly string[];
  /** modules_to_save as PEFT would save it. */
  readonly modulesToSave: readonly string[] | null;
  readonly warnings: readonly string[];
}
