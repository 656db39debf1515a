import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { adapterEntries, fileEntries } from "../../src/lora/adapterKeys.ts";
import { adapterOn, type MODELS, runOn } from "./fixtures.ts";

const TABLE = "base_model.model.model.embed_tokens.weight";
const HEAD = "base_model.model.lm_head.weight";
const Q = { target_modules: ["q_proj"] };
const tied = (lora: JsonObject) => runOn("qwen3", { ...Q, ...lora, ensure_weight_tying: true });

describe("ensure_weight_tying", () => {
  it("makes embedding and head one table that trains, whichever of them is named", () => {
    for (const modules_to_save of [["embed_tokens"], ["lm_head"], ["lm_head", "embed_tokens"]]) {
      const selection = tied({ modules_to_save });
      expect(selection.whole.map(({ key, tiedTo }) => [key, tiedTo])).toEqual([
        [TABLE, undefined],
        [HEAD, TABLE],
      ]);
      expect(selection.warnings).toEqual([]);
    }
  });

  it("trains that table once and saves it under both names", () => {
    const selection = { ...tied({ modules_to_save: ["embed_tokens"] }), lora: [] };
    expect(adapterEntries(selection).map(({ key }) => key)).toEqual([TABLE]);
    expect(fileEntries(selection).map(({ key, trainedKey }) => [key, trainedKey])).toEqual([
      [TABLE, TABLE],
      [HEAD, TABLE],
    ]);
  });

  it("puts the embedding in the head's place in what is saved of the config", () => {
    const saved = (modules_to_save: string[]) => tied({ modules_to_save }).modulesToSave;
    expect(saved(["lm_head", "norm"])).toEqual(["norm", "model.embed_tokens"]);
    expect(saved(["embed_tokens"])).toEqual(["embed_tokens", "model.embed_tokens"]);
    expect(saved(["model.embed_tokens"])).toEqual(["model.embed_tokens"]);
    const targets = (target_modules: string | string[]) => tied({ target_modules }).targetModules;
    expect(targets(["lm_head", "q_proj"])).toEqual(["q_proj", "model.embed_tokens"]);
    expect(targets(".*(q_proj|lm_head)")).toBe("(?:.*(q_proj|lm_head)|^model\\.embed_tokens$)");
  });

  it("gives the head LoRA's factors of the embedding, each with the scale of its own name", () => {
    for (const entry of ["embed_tokens", "lm_head"]) {
      const { lora } = tied({ target_modules: [entry], alpha_pattern: { lm_head: 4 } });
      expect(lora.map(({ module, tiedTo, scale }) => [module.name, tiedTo?.name, scale])).toEqual([
        ["model.embed_tokens", undefined, 1],
        ["lm_head", "model.embed_tokens", 0.5],
      ]);
    }
  });

  it("ties whatever layers_to_transform and exclude_modules say of the head", () => {
    const { lora } = tied({
      target_modules: ["embed_tokens"],
      layers_to_transform: [0],
      exclude_modules: ["lm_head"],
    });
    expect(lora.map(({ module }) => module.name)).toEqual(["model.embed_tokens", "lm_head"]);
  });

  it("comes to the same where PEFT's config of a tied adapter is read", () => {
    const pattern = "(?:.*(q_proj|lm_head)|^model\\.embed_tokens$)";
    for (const lora of [
      { ...Q, modules_to_save: ["embed_tokens", "model.embed_tokens"] },
      { target_modules: ["q_proj", "model.embed_tokens"] },
      { target_modules: pattern },
    ]) {
      const found = adapterOn("qwen3", { ...lora, ensure_weight_tying: true });
      const isTied = [...found.whole, ...found.lora].filter(({ tiedTo }) => tiedTo !== undefined);
      expect(isTied.map(({ module }) => module.name)).toEqual(["lm_head"]);
    }
  });

  it("says where it finds nothing to tie, and where tied modules are left untied", () => {
    const warnings = (model: keyof typeof MODELS, lora: JsonObject) => runOn(model, lora).warnings.join();
    expect(warnings("llama", { ...Q, ensure_weight_tying: true })).toContain("the model has no tied modules");
    expect(warnings("qwen3", { ...Q, ensure_weight_tying: true })).toContain(
      "neither model.embed_tokens nor",
    );
    expect(warnings("qwen3", { ...Q, modules_to_save: ["lm_head"] })).toContain(
      "merged they are two tensors",
    );
    for (const taken of [{ modules_to_save: ["wte"] }, { target_modules: ".*wte|.*c_fc" }]) {
      expect(warnings("gpt2", { ...taken, ensure_weight_tying: true })).toContain("does not know that name");
      expect(warnings("gpt2", taken)).toContain("merged they are two tensors");
    }
    expect(warnings("qwen3", { ...Q, trainable_token_indices: [1], ensure_weight_tying: true })).toBe("");
  });

  it.each<[keyof typeof MODELS, JsonObject, RegExp]>([
    ["gpt2", { modules_to_save: ["lm_head"] }, /PEFT trains them tied, but opens what it has saved untied/],
    [
      "qwen3",
      { target_modules: ["lm_head"], modules_to_save: ["embed_tokens"] },
      /target_modules takes lm_head, which/,
    ],
    [
      "qwen3",
      { target_modules: ["lm_head"], exclude_modules: ["embed_tokens"] },
      /model\.embed_tokens is excluded/,
    ],
    [
      "qwen3",
      { target_modules: ["lm_head"], rank_pattern: { lm_head: 3 } },
      /lm_head has rank 3 and model\.embed_tokens rank 8/,
    ],
    [
      "qwen3",
      { target_modules: ["lm_head"], init_lora_weights: "orthogonal" },
      /PEFT gives lm_head factors of its own/,
    ],
    [
      "qwen3",
      { ...Q, trainable_token_indices: { embed_tokens: [1], lm_head: [2] } },
      /names other tokens for the head/,
    ],
    [
      "qwen3",
      { ...Q, modules_to_save: ["lm_head"], trainable_token_indices: [1] },
      /modules_to_save both take model\.embed_tokens/,
    ],
  ])("is refused on %s: %j", (model, lora, message) => {
    expect(() => runOn(model, { ...lora, ensure_weight_tying: true })).toThrow(message);
  });
});
