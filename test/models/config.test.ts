import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ConfigError } from "../../src/base/errors.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import type { ModelConfig } from "../../src/models/modelConfig.ts";
import { inverseFrequencies } from "../../src/models/rotary.ts";

type Read = Record<string, unknown> & {
  rotary: { type: string; inv_freq: number[]; attention_scaling: number } | null;
};
const cases = JSON.parse(readFileSync(new URL("fixtures/configs.json", import.meta.url), "utf8")) as {
  name: string;
  config: Record<string, unknown>;
  read: Read;
}[];

describe("a config.json", () => {
  it.each(cases)("means what Transformers makes of it: $name", ({ config, read }) => {
    const { rotary, ...rest } = parseModelConfig(config);
    const { rotary: wanted, ...others } = read;
    // JSON has no undefined: the fixture says null.
    const found = JSON.parse(
      JSON.stringify(rest, (_, value) => (value === undefined ? null : value)),
    ) as object;
    expect(found).toEqual({ ...others, attentionScale: expect.any(Array) });
    // Python and V8 differ in the last bit of a float64 power; kernels get f32.
    expect(Float32Array.from(rest.attentionScale)).toEqual(
      Float32Array.from(others.attentionScale as number[]),
    );
    expect(rotary?.type).toBe(wanted?.type);
    if (!rotary || !wanted) return;
    const frequencies = inverseFrequencies(rotary, rest.headDim);
    expect(frequencies.length).toBe(wanted.inv_freq.length);
    frequencies.forEach((frequency, i) => {
      expect(Math.abs(frequency / wanted.inv_freq[i]! - 1)).toBeLessThan(1.3e-7);
    });
    const scaling = rotary.type === "yarn" ? rotary.attentionFactor : 1;
    expect(scaling).toBeCloseTo(wanted.attention_scaling, 12);
  });
});

const llama = { model_type: "llama", hidden_size: 32, num_attention_heads: 4, num_hidden_layers: 2 };
const qwen3 = { model_type: "qwen3", num_hidden_layers: 2 };
const gpt2 = { model_type: "gpt2", n_embd: 24, n_head: 3 };
const yarn = { rope_type: "yarn", factor: 4 };

describe("is refused", () => {
  it.each<[string, unknown, RegExp]>([
    [
      "another family, with what works",
      { model_type: "gemma3" },
      /"gemma3".*llama, mistral, qwen2, qwen3, gpt2/,
    ],
    ["no family", {}, /model_type undefined/],
    ["a family of the prototype", { model_type: "constructor" }, /"constructor"/],
    ["a list", [], /expected an object/],
    [
      "quantised weights",
      { ...llama, quantization_config: { quant_method: "gptq" } },
      /quantization_config.*f32, f16 or bf16/,
    ],
    ["layers that differ", { ...llama, per_layer_config: { 1: {} } }, /per_layer_config/],
    ["attention both ways", { ...llama, is_causal: false }, /is_causal/],
    ["another activation", { ...llama, hidden_act: "relu" }, /hidden_act = "relu".*silu, swish/],
    ["an activation of the prototype", { ...llama, hidden_act: "toString" }, /toString/],
    [
      "GPT-2 with another activation",
      { ...gpt2, activation_function: "silu" },
      /activation_function = "silu".*gelu/,
    ],
    [
      "a dynamic rope",
      { ...llama, rope_scaling: { type: "dynamic", factor: 2 } },
      /rope_type = "dynamic".*default, linear, llama3, yarn/,
    ],
    ["a longrope", { ...llama, rope_parameters: { rope_type: "longrope" } }, /"longrope"/],
    ["a rope of part of the head", { ...llama, partial_rotary_factor: 0.5 }, /partial_rotary_factor = 0.5/],
    [
      "a rope of part of the head, inside",
      { ...llama, rope_parameters: { partial_rotary_factor: 0.25 } },
      /0.25/,
    ],
    [
      "a rope by layer type",
      { ...qwen3, rope_parameters: { full_attention: { rope_type: "default" } } },
      /full_attention/,
    ],
    [
      "a rope without its factor",
      { ...llama, rope_scaling: { type: "linear" } },
      /lacks factor, which rope type "linear" needs/,
    ],
    ["a yarn without its factor", { ...llama, rope_scaling: { type: "yarn" } }, /lacks factor/],
    [
      "a rope with a factor that is text",
      { ...llama, rope_scaling: { ...yarn, factor: "4" } },
      /factor = "4", expected a number/,
    ],
    ["a rope that is a number", { ...llama, rope_scaling: 2 }, /rope_scaling = 2/],
    ["a theta of null", { ...llama, rope_theta: null }, /rope_theta = null/],
    ["a reordered attention", { ...gpt2, reorder_and_upcast_attn: true }, /reorder_and_upcast_attn/],
    ["cross attention", { ...gpt2, add_cross_attention: true }, /add_cross_attention/],
    ["GPT-2 heads that do not fit", { ...gpt2, n_head: 5 }, /n_embd 24 and 5 heads/],
    ["heads that do not fit", { ...llama, num_attention_heads: 5 }, /hidden_size 32 and 5 heads/],
    [
      "key/value heads that do not fit",
      { ...llama, num_key_value_heads: 3 },
      /4 heads over 3 key\/value heads/,
    ],
    ["odd heads", { ...llama, head_dim: 7 }, /heads of 7/],
    ["a Qwen3 head size of null", { ...qwen3, head_dim: null }, /head_dim = null/],
    ["a size of 0", { ...llama, vocab_size: 0 }, /vocab_size = 0, expected a whole number from 1/],
    ["a size that is text", { ...llama, hidden_size: "32" }, /hidden_size = "32"/],
    ["a fractional size", { ...llama, hidden_size: 32.5 }, /hidden_size = 32.5/],
    [
      "a thousand million layers",
      { ...llama, num_hidden_layers: 1e9 },
      /num_hidden_layers = 1000000000, expected .* 1024/,
    ],
    [
      "a flag that is a number",
      { ...llama, attention_bias: 1 },
      /attention_bias = 1, expected true or false/,
    ],
    ["an eps of 0", { ...llama, rms_norm_eps: 0 }, /rms_norm_eps = 0/],
    ["a dropout above 1", { ...llama, attention_dropout: 2 }, /attention_dropout = 2/],
    ["a window of 0", { model_type: "mistral", sliding_window: 0 }, /sliding_window = 0/],
    ["too few layer types", { ...qwen3, layer_types: ["full_attention"] }, /layer_types/],
    [
      "an unknown layer type",
      { ...qwen3, layer_types: ["full_attention", "linear_attention"] },
      /full_attention, sliding_attention/,
    ],
    [
      "a sliding layer while windows are off",
      { ...qwen3, layer_types: ["full_attention", "sliding_attention"] },
      /use_sliding_window/,
    ],
    ["an end token that is text", { ...llama, eos_token_id: "2" }, /eos_token_id = "2"/],
  ])("%s", (_, config, says) => {
    let thrown: unknown;
    try {
      parseModelConfig(config);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ConfigError);
    expect((thrown as ConfigError).message).toMatch(says);
    expect((thrown as ConfigError).message).toContain("config.json");
  });
});

describe("is accepted", () => {
  it.each<[string, object, Partial<ModelConfig>]>([
    ["ids that no token has", { ...llama, pad_token_id: -1 }, { padTokenId: undefined }],
    [
      "the older name of a layer type",
      { ...qwen3, layer_types: ["attention", "attention"] },
      { slidingWindow: [undefined, undefined] },
    ],
    ["another word for silu", { ...llama, hidden_act: "swish" }, { activation: "silu" }],
    ["a dtype in torch's spelling", { ...llama, torch_dtype: "torch.float16" }, { storedDtype: "float16" }],
    [
      "dtype before torch_dtype",
      { ...llama, dtype: "bfloat16", torch_dtype: "float32" },
      { storedDtype: "bfloat16" },
    ],
    ["no rope_scaling", { ...llama, rope_scaling: {} }, { rotary: { type: "default", theta: 10000 } }],
  ])("%s", (_, config, wanted) => {
    expect(parseModelConfig(config)).toMatchObject(wanted);
  });
});
