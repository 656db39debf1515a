import type { ConfigFields } from "./config-fields.ts";
import type { Activation } from "./modelConfig.ts";

/** Bounds what a config can make us allocate per layer. */
export const MOST_LAYERS = 1024;

const ACTIVATIONS: Record<string, Activation> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_python: "gelu",
  gelu_new: "gelu_new",
  gelu_fast: "gelu_new",
  gelu_accurate: "gelu_new",
  gelu_pytorch_tanh: "gelu_new",
  gelu_python_tanh: "gelu_new",
};

export function readActivation(
  fields: ConfigFields,
  key: string,
  fallback: string,
  allowed: readonly Activation[],
): Activation {
  const name = fields.text(key, fallback);
  const activation = Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined;
  if (activation && allowed.includes(activation)) return activation;
  const works = Object.keys(ACTIVATIONS).filter((known) => allowed.includes(ACTIVATIONS[known]!));
  return fields.unsupported(key, works.join(", "));
}

export function readDtype(fields: ConfigFields): string | undefined {
  const value = fields.json.dtype ?? fields.json.torch_dtype;
  return typeof value === "string" ? value.replace(/^torch\./, "") : undefined;
}

export function readTokens(fields: ConfigFields, bos: number | undefined, eos: number[]) {
  return {
    bosTokenId: fields.tokenIds("bos_token_id", bos === undefined ? [] : [bos])[0],
    eosTokenIds: fields.tokenIds("eos_token_id", eos),
    padTokenId: fields.tokenIds("pad_token_id", [])[0],
  };
}
