/** Merged GGUF files against the bytes that llama.cpp was shown to take rightly (reference/verify_merged_gguf.py). */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { findChatTemplate } from "../../src/data/chat.ts";
import { tokenizerFiles } from "../../src/data/tokenizerFiles.ts";
import type { WrittenGgmlType } from "../../src/formats/ggml.ts";
import { openGguf } from "../../src/formats/gguf.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { ggufContext, ggufSettings } from "../../src/models/ggufSettings.ts";
import { mergedGguf } from "../../src/models/mergedGguf.ts";
import { bytesOf } from "../harness/streams.ts";
import { BASES, folder, MERGED_CASES, mergedCase, openCase } from "./merged.ts";

async function merged(name: string, type: WrittenGgmlType) {
  const parts = await openCase(name);
  return mergedGguf("merged.gguf", type, { ...parts, stopIds: new Set([0]) });
}

describe("a merged GGUF file", () => {
  it.each(MERGED_CASES)("has the bytes that llama.cpp agrees with PEFT on: %s", async (name) => {
    for (const [dtype, type] of [
      ["f32", "F32"],
      ["f16", "F16"],
      ["q8_0", "Q8_0"],
    ] as const) {
      const { file } = await merged(name, type);
      const bytes = await bytesOf(file);
      expect(bytes.length).toBe(file.byteLength);
      expect(createHash("sha256").update(bytes).digest("hex"), dtype).toBe(mergedCase(name).gguf[dtype]);
    }
  });

  it("keeps norms, biases and learned positions in f32, and takes f16 where rows are no whole blocks", async () => {
    const { tensors } = await openGguf(
      arraySource(await bytesOf((await merged("llama_shards", "Q8_0")).file), "merged.gguf"),
    );
    const types = (ending: string) =>
      [...tensors.values()].filter(({ name }) => name.endsWith(ending)).map(({ type }) => type);
    expect(types("attn_norm.weight")).toEqual(["F32", "F32"]);
    expect(types("attn_q.weight")).toEqual(["Q8_0", "Q8_0"]);
    // 52 columns
    expect(types("ffn_down.weight")).toEqual(["F16", "F16"]);
    expect(types("rope_freqs.weight")).toEqual(["F32"]);
    const hub = await openGguf(
      arraySource(await bytesOf((await merged("gpt2_hub_embedding", "F16")).file), "merged.gguf"),
    );
    expect(hub.tensors.get("position_embd.weight")?.type).toBe("F32");
    expect(hub.tensors.get("token_embd.weight")?.type).toBe("F16");
  });

  it("says what the model is in llama.cpp's words, with its chat template", async () => {
    const base = folder(`${BASES}/llama_tied`, (files) =>
      files.set("chat_template.jinja", new TextEncoder().encode("{{ messages }}")),
    );
    const { model, adapter } = await openCase("tied_embedding", base);
    const tokenizer = await tokenizerFiles(base, await findChatTemplate(base));
    const { file, notes } = await mergedGguf("merged.gguf", "F16", {
      model,
      adapter,
      tokenizer,
      stopIds: new Set([0]),
    });
    expect(notes).toEqual([]);
    const { metadata } = await openGguf(arraySource(await bytesOf(file), "merged.gguf"));
    const plain = [...metadata].filter(([, { type }]) => type !== "array");
    expect(Object.fromEntries(plain.map(([key, { value }]) => [key, value]))).toEqual({
      "general.architecture": "llama",
      "general.type": "model",
      "general.file_type": 1,
      "general.quantization_version": 2,
      "llama.vocab_size": 151,
      "llama.context_length": 256,
      "llama.embedding_length": 40,
      "llama.block_count": 3,
      "llama.feed_forward_length": 74,
      "llama.attention.head_count": 5,
      "llama.attention.head_count_kv": 5,
      "llama.attention.key_length": 8,
      "llama.attention.value_length": 8,
      "llama.attention.layer_norm_rms_epsilon": Math.fround(1e-5),
      "llama.rope.dimension_count": 8,
      "llama.rope.freq_base": 10000,
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": "gpt-2",
      "tokenizer.ggml.bos_token_id": 0,
      "tokenizer.ggml.eos_token_id": 0,
      "tokenizer.ggml.add_bos_token": false,
      "tokenizer.ggml.add_eos_token": false,
      "tokenizer.chat_template": "{{ messages }}",
    });
  });

  it("refuses values that f16 cannot hold, with their tensor", async () => {
    const { model, ...parts } = await openCase("tied_embedding");
    parts.adapter.values.forEach((values, key) => {
      if (key.includes("k_proj.lora_B")) values.fill(1e6);
    });
    const { file } = await mergedGguf("merged.gguf", "F16", { ...parts, model, stopIds: new Set() });
    await expect(bytesOf(file)).rejects.toThrow(
      /blk\.\d\.attn_k\.weight holds .*f16 ends at 65504\. .*Write the file in f32/,
    );
  });
});

describe("settings", () => {
  const config = (changes: JsonObject) =>
    parseModelConfig({
      vocab_size: 8,
      num_key_value_heads: 4,
      hidden_size: 32,
      num_attention_heads: 4,
      num_hidden_layers: 1,
      ...changes,
    });

  const yarn = (changes: JsonObject): JsonObject => ({
    model_type: "llama",
    rope_parameters: { rope_type: "yarn", factor: 2, rope_theta: 100, ...changes },
  });

  it.each<[string, JsonObject, RegExp]>([
    ["another scale of attention", { model_type: "gpt2", scale_attn_weights: false }, /scales its attention/],
    ["the exact gelu", { model_type: "gpt2", activation_function: "gelu" }, /the exact gelu/],
    ["biases of qwen3", { model_type: "qwen3", attention_bias: true }, /biases in its attention/],
    ["wide heads of qwen2", { model_type: "qwen2", head_dim: 16 }, /not as wide as its hidden states/],
    ["a yarn without truncate", yarn({ truncate: false }), /a yarn of its own/],
    ["a yarn of other waves", yarn({ beta_fast: 4 }), /a yarn of its own/],
  ])("that llama.cpp does not know are refused: %s", (_, changes, says) => {
    expect(() => ggufSettings(config(changes))).toThrow(says);
    expect(() => ggufSettings(config(changes))).toThrow(/\(merged\)/);
  });

  it("scale yarn's attention by what llama.cpp does not do anyway", () => {
    const factor = (changes: JsonObject) =>
      ggufSettings(config(yarn(changes))).get("llama.rope.scaling.attn_factor")?.value;
    expect(factor({})).toBe(1);
    expect(factor({ attention_factor: 1.5 })).toBeCloseTo(1.5 / (0.1 * Math.log(2) + 1), 12);
  });

  it("give a model with a sliding window a context of one window, within which it is the same", () => {
    const mistral = config({ model_type: "mistral", sliding_window: 6 });
    expect(ggufContext(mistral)).toBe(6);
    expect(ggufSettings(mistral).get("llama.context_length")?.value).toBe(6);
    expect(ggufContext(config({ model_type: "llama", max_position_embeddings: 64 }))).toBe(64);
  });
});
