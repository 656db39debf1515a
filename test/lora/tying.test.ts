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

  it("gives the head the embedding's rank; its own decides its scale", () => {
    for (const use_rslora of [false, true]) {
      const { lora, warnings } = tied({
        ...{ target_modules: ["lm_head"], r: 8, lora_alpha: 12, use_rslora },
        rank_pattern: { lm_head: 4 },
      });
      expect(lora.map(({ r }) => r)).toEqual([8, 8]);
      const [table, head] = lora;
      expect(head!.scale).toBe(12 / (use_rslora ? 2 : 4));
      expect(head!.alpha / (use_rslora ? Math.sqrt(8) : 8)).toBe(head!.scale);
      expect(table!.alpha).toBe(12);
      expect(warnings.join()).toMatch(/their rank, 8: its own, 4, decides its scale alone/);
    }
  });

  it("keeps the head's name in what is saved where PEFT does not know the embedding's as one of tied modules", () => {
    const on = (lora: JsonObject) => {
      const given = { target_modules: ["c_attn"], ...lora, ensure_weight_tying: true };
      const made = runOn("gpt2", given);
      const saved = { target_modules: made.targetModules as string, modules_to_save: made.modulesToSave };
      const read = adapterOn("gpt2", { ...given, ...(saved as JsonObject) });
      expect(read.lora).toEqual(made.lora);
      expect(read.whole).toEqual(made.whole);
      expect([...made.whole, ...made.lora].flatMap(({ tiedTo }) => tiedTo ?? [])).toHaveLength(1);
      return saved;
    };
    expect(on({ modules_to_save: ["lm_head"] }).modules_to_save).toEqual(["transformer.wte", "lm_head"]);
    expect(on({ target_modules: ["lm_head", "c_attn"] }).target_modules).toEqual([
      "c_attn",
      "transformer.wte",
      "lm_head",
    ]);
    const pattern = ".*(lm_head|c_attn)";
    expect(on({ target_modules: pattern }).target_modules).toBe(`(?:${pattern}|^transformer\\.wte$)`);
  });

  it("gives the head factors of its own under a start that parts them in PEFT", () => {
    for (const choose of [
      () => tied({ target_modules: ["embed_tokens"], init_lora_weights: "orthogonal" }),
      ...["orthogonal", "pissa", "mica"].map((init_lora_weights) => () => {
        const target_modules = ["model.embed_tokens"];
        return adapterOn("qwen3", { target_modules, init_lora_weights, ensure_weight_tying: true });
      }),
    ]) {
      const { lora, warnings } = choose();
      expect(lora.map(({ module, tiedTo }) => [module.name, tiedTo])).toEqual([
        ["model.embed_tokens", undefined],
        ["lm_head", undefined],
      ]);
      expect(warnings.join()).toContain("PEFT gives lm_head factors of its own");
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
    ...["pissa", "olora"].map((init_lora_weights): [keyof typeof MODELS, JsonObject, RegExp] => [
      "qwen3",
      { target_modules: ["lm_head"], init_lora_weights },
      /takes what they begin as out of model\.embed_tokens too/,
    ]),
    [
      "qwen3",
      { ...Q, trainable_token_indices: { embed_tokens: [1], lm_head: [2] } },
      /names different tokens for what is tied to one table/,
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
