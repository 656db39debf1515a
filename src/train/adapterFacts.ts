/** What people are told of an adapter before it runs. */
import type { StoredType } from "../base/bytes.ts";
import type { Result } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { layerOf } from "../lora/matching.ts";
import type { AdapterFiles, LoadedAdapter } from "../lora/readAdapter.ts";
import type { Selection } from "../lora/selection.ts";

export interface AdapterFacts {
  readonly label: string;
  /** adapter_config.json as it stands, unknown keys too. */
  readonly config: JsonObject;
  /** Where it says that its base model is. */
  readonly baseModel: string | null;
  /** What it says it was trained for: CAUSAL_LM. */
  readonly taskType: string | null;
  /** All that the file holds, in its order. */
  readonly tensors: readonly AdapterTensor[];
  /** Of all its tensors. */
  readonly parameters: number;
  readonly bytes: number;
  /** What it changes of the open base, or why it does not fit that. */
  readonly fit: Result<AdapterFit>;
}

export interface AdapterTensor {
  readonly name: string;
  readonly dtype: StoredType;
  readonly shape: readonly number[];
  readonly bytes: number;
}

export interface AdapterFit {
  /** Modules that have low-rank factors, in the order of the model. */
  readonly modules: readonly AdaptedModuleFacts[];
  /** Parameters of the base that it brings whole, by the base's names. */
  readonly whole: readonly string[];
  /** Embeddings and heads of which some tokens' rows train by themselves, and how many. */
  readonly tokens: readonly { readonly module: string; readonly rows: number }[];
  /** Numbers of the layers that it changes, from the lowest. */
  readonly layers: readonly number[];
  /** Modules that it changes and that lie in no layer: embeddings, the last norm, the head. */
  readonly rest: readonly string[];
  readonly warnings: readonly string[];
}

export interface AdaptedModuleFacts {
  readonly module: string;
  readonly rank: number;
  readonly alpha: number;
  /** lora_alpha / r, or lora_alpha / √r with use_rslora. */
  readonly scale: number;
  /** Each row has a magnitude, by use_dora. */
  readonly dora: boolean;
}

export function adapterFacts({ label, given, tensors }: AdapterFiles, fit: Result<AdapterFit>): AdapterFacts {
  const { base_model_name_or_path: baseModel = null, task_type: taskType = null } = given;
  const listed = [...tensors.values()].map(
    ({ name, dtype, shape, byteLength }): AdapterTensor => ({ name, dtype, shape, bytes: byteLength }),
  );
  const count = ({ shape }: AdapterTensor) => shape.reduce((product, size) => product * size, 1);
  return {
    ...{ label, config: given, tensors: listed, fit },
    baseModel: typeof baseModel === "string" ? baseModel : null,
    taskType: typeof taskType === "string" ? taskType : null,
    parameters: listed.reduce((sum, tensor) => sum + count(tensor), 0),
    bytes: listed.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

export function adapterFit({ selection, warnings }: LoadedAdapter): AdapterFit {
  const modules = selection.lora.map(
    ({ module, r, alpha, scale, hasMagnitude }): AdaptedModuleFacts => ({
      ...{ module: module.name, rank: r, alpha, scale, dora: hasMagnitude },
    }),
  );
  const whole = selection.whole.map(({ module, parameter }) => `${module.name}.${parameter}`);
  const tokens = selection.tokens.map(({ module, indices }) => ({
    module: module.name,
    rows: indices.length,
  }));
  return { modules, whole, tokens, layers: layersOf(selection), rest: restOf(selection), warnings };
}

function restOf({ lora, whole, tokens }: Selection): string[] {
  const names = [...lora, ...whole, ...tokens].map(({ module }) => module.name);
  return [...new Set(names)].filter((name) => layerOf(name) === undefined);
}

function layersOf({ lora, whole }: Selection): number[] {
  const layers = new Set([...lora, ...whole].map(({ module }) => layerOf(module.name)));
  return [...layers].filter((layer) => layer !== undefined).sort((a, b) => a - b);
}
