import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { adapterEntries } from "../../src/lora/adapterKeys.ts";
import { type MODELS, runOn } from "./fixtures.ts";

const KEY = (module: string) => `base_model.model.${module}.token_adapter.trainable_tokens_delta`;

/** Modules whose rows train, with the key of the tensor that holds them. */
function rowsOf(model: keyof typeof MODELS, trainable_token_indices: JsonObject[string]) {
  const { tokens } = runOn(model, { trainable_token_indices });
  return tokens.map(({ module, indices, key }) => [module.name, indices, key]);
}

describe("trainable_token_indices", () => {
  it("as a list is for the embedding, and for a head that is tied to it", () => {
    expect(rowsOf("llama", [3, 1])).toEqual([["model.embed_tokens", [3, 1], KEY("model.embed_tokens")]]);
    expect(rowsOf("qwen3", [3, 1])).toEqual([
      ["model.embed_tokens", [3, 1], KEY("model.embed_tokens")],
      ["lm_head", [3, 1], KEY("model.embed_tokens")],
    ]);
  });

  it("names endings of modules, each with its tokens; the first entry that takes a module counts", () => {
    expect(rowsOf("gpt2", { wpe: [2], wte: [1] })).toEqual([
      ["transformer.wte", [1], KEY("transformer.wte")],
      ["transformer.wpe", [2], KEY("transformer.wpe")],
      ["lm_head", [1], KEY("transformer.wte")],
    ]);
    expect(rowsOf("llama", { tokens: [1], "model.embed_tokens": [2] })).toEqual([
      ["model.embed_tokens", [1], KEY("model.embed_tokens")],
    ]);
    expect(rowsOf("llama", {})).toEqual([]);
  });

  it("gives a tied head the embedding's rows where both name the same tokens, and its own where they differ", () => {
    const keys = (indices: JsonObject[string]) => rowsOf("qwen3", indices).map(([, , key]) => key);
    const [table, head] = [KEY("model.embed_tokens"), KEY("lm_head")];
    expect(keys({ embed_tokens: [1, 2], lm_head: [1, 2] })).toEqual([table, table]);
    expect(keys({ embed_tokens: [1, 2], lm_head: [2, 1] })).toEqual([table, head]);
    expect(keys({ lm_head: [2] })).toEqual([head]);
  });

  it("saves the rows of a tied head once", () => {
    const { lora: _, ...rest } = runOn("qwen3", { trainable_token_indices: [3, 1] });
    expect(adapterEntries({ ...rest, lora: [] })).toEqual([
      { key: KEY("model.embed_tokens"), part: "tokens", module: "model.embed_tokens", shape: [2, 8] },
    ]);
  });

  it("leaves LoRA on a tied head as it is", () => {
    const { lora, tokens } = runOn("qwen3", { target_modules: ["lm_head"], trainable_token_indices: [1] });
    expect(lora.map(({ module }) => module.name)).toEqual(["lm_head"]);
    expect(tokens.map(({ module }) => module.name)).toEqual(["model.embed_tokens", "lm_head"]);
  });

  it.each<[keyof typeof MODELS, JsonObject, RegExp]>([
    [
      "llama",
      { trainable_token_indices: [] },
      /trainable_token_indices is \[\], expected a list of token ids/,
    ],
    ["llama", { trainable_token_indices: [-1] }, /trainable_token_indices.* expected a list/],
    ["llama", { trainable_token_indices: { "": [1] } }, /trainable_token_indices.* expected a list/],
    ["llama", { trainable_token_indices: [1, 32] }, /names row 32 of model\.embed_tokens, which has 32 rows/],
    ["llama", { trainable_token_indices: [1, 2, 1] }, /names row 1 of model\.embed_tokens twice/],
    ["llama", { trainable_token_indices: { embed_token: [1] } }, /"embed_token" matches no module/],
    [
      "llama",
      { trainable_token_indices: { v_proj: [1] } },
      /takes model\.layers\.0\.self_attn\.v_proj, which is no embedding/,
    ],
    [
      "llama",
      { target_modules: ["embed_tokens"], trainable_token_indices: [1] },
      /and target_modules both take model\.embed_tokens/,
    ],
    [
      "llama",
      { modules_to_save: ["lm_head"], trainable_token_indices: { lm_head: [1] } },
      /and modules_to_save both take lm_head/,
    ],
    [
      "qwen3",
      { modules_to_save: ["lm_head"], trainable_token_indices: [1] },
      /modules_to_save both take lm_head, whose rows are those/,
    ],
    [
      "qwen3",
      { target_modules: ["lm_head"], use_dora: true, trainable_token_indices: [1] },
      /use_dora both take lm_head, whose/,
    ],
  ])("is refused on %s: %j", (model, lora, message) => {
    expect(() => runOn(model, lora)).toThrow(message);
  });
});
