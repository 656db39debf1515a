import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { parseLoraConfig } from "../../src/lora/config.ts";
import { exportConfig } from "../../src/lora/exportConfig.ts";
import { configWithWhole, namedParameters, withRequiresGrad } from "../../src/lora/requiresGrad.ts";
import type { Selection } from "../../src/lora/selection.ts";
import { adapterOn, MODELS, runOn } from "./fixtures.ts";

const short = ({ key }: { readonly key: string }) =>
  key.replace(/^base_model\.model\.(model|transformer)\./, "");

function chosen(model: keyof typeof MODELS, lora: JsonObject, ...patterns: string[]): Selection {
  return withRequiresGrad(runOn(model, lora), namedParameters(MODELS[model]), patterns, { path: "train" });
}

function exported(selection: Selection, lora: JsonObject): JsonObject {
  const { modules_to_save, bias } = configWithWhole(
    exportConfig(selection, parseLoraConfig(lora).config, null),
    selection,
  );
  return { modules_to_save: modules_to_save!, bias: bias! };
}

describe("requires_grad", () => {
  it("takes tensors by their whole names, weight and bias apart", () => {
    const lora = { target_modules: ["c_attn"] };
    const selection = chosen("gpt2", lora, "transformer\\.ln_f\\.weight", ".*h\\.1\\.mlp\\.c_proj\\.bias");
    expect(selection.whole.map(short)).toEqual(["h.1.mlp.c_proj.bias", "ln_f.weight"]);
    // PEFT's file holds modules: the rest of these two is the base's.
    expect(selection.requiresGrad!.beside.map(short)).toEqual(["h.1.mlp.c_proj.weight", "ln_f.bias"]);
    expect(selection.warnings.join()).toContain(
      "holds transformer.h.1.mlp.c_proj.weight and 1 more as the base has it",
    );
    expect(exported(selection, lora)).toEqual({
      modules_to_save: ["transformer.h.1.mlp.c_proj", "transformer.ln_f"],
      bias: "none",
    });
  });

  it("takes the bias of an adapted module; PEFT's file then holds all of them", () => {
    const lora = { target_modules: ["c_attn"], modules_to_save: ["ln_f"] };
    const selection = chosen("gpt2", lora, ".*h\\.0\\.attn\\.c_attn\\.bias");
    expect(selection.whole.map(short)).toEqual([
      "ln_f.weight",
      "ln_f.bias",
      "h.0.attn.c_attn.base_layer.bias",
    ]);
    expect(selection.requiresGrad!.beside.map(short)).toEqual(["h.1.attn.c_attn.base_layer.bias"]);
    expect(exported(selection, lora)).toEqual({ modules_to_save: ["ln_f"], bias: "lora_only" });
  });

  it("trains nothing twice, and says so", () => {
    const selection = chosen(
      "llama",
      { modules_to_save: ["norm"] },
      ".*layernorm\\.weight",
      "lm_head\\.weight",
    );
    expect(selection.whole).toHaveLength(26);
    expect(selection.warnings.join()).toContain("and 23 more, which trains already");
    const biased = chosen("gpt2", { target_modules: ["c_attn"], bias: "all" }, ".*c_attn\\.bias");
    expect(biased.requiresGrad!.beside).toEqual([]);
    expect(biased.warnings.join()).toContain("which trains already");
  });

  it.each([
    ["qwen3", "q_proj", "model.embed_tokens", ["model.embed_tokens"]],
    // By this name alone PEFT would not know that it is tied.
    ["gpt2", "c_attn", "transformer.wte", ["transformer.wte", "lm_head"]],
  ] as const)(
    "takes %s's embedding and the head as one, which PEFT ties again when it reads the file",
    (model, target, table, saved) => {
      const lora = { target_modules: [target] };
      const selection = chosen(model, lora, `${table.replaceAll(".", "\\.")}\\.weight`);
      const tensors = [
        [`base_model.model.${table}.weight`, undefined],
        ["base_model.model.lm_head.weight", `base_model.model.${table}.weight`],
      ];
      expect(selection.whole.map(({ key, tiedTo }) => [key, tiedTo])).toEqual(tensors);
      const config = configWithWhole(lora, selection);
      expect(config).toMatchObject({ modules_to_save: saved, ensure_weight_tying: true });
      const read = adapterOn(model, config);
      expect(read.whole.map(({ key, tiedTo }) => [key, tiedTo])).toEqual(tensors);
      expect([...selection.warnings, ...read.warnings]).toEqual([]);
    },
  );

  it("takes a weight whose bias trains by bias: all", () => {
    const lora = { target_modules: ["c_attn"], bias: "all" };
    const selection = chosen("gpt2", lora, ".*ln_f\\.weight");
    expect(selection.whole.map(short).filter((key) => key.startsWith("ln_f"))).toEqual([
      "ln_f.bias",
      "ln_f.weight",
    ]);
    expect(selection.requiresGrad!.beside).toEqual([]);
    expect(exported(selection, lora)).toEqual({ modules_to_save: ["transformer.ln_f"], bias: "all" });
  });

  it("leaves a head alone that trains as a copy of its own", () => {
    const lora = { target_modules: ["q_proj"], modules_to_save: ["lm_head"] };
    const selection = chosen("qwen3", lora, "model\\.embed_tokens\\.weight");
    expect(selection.whole.map(({ key, tiedTo }) => [key, tiedTo])).toEqual([
      ["base_model.model.lm_head.weight", undefined],
      ["base_model.model.model.embed_tokens.weight", undefined],
    ]);
  });

  it.each<[keyof typeof MODELS, JsonObject, string, RegExp]>([
    [
      "llama",
      {},
      "norm\\.weight",
      /matches the whole name of no parameter.*nearest name is "model\.norm\.weight"/,
    ],
    [
      "llama",
      {},
      "model.norm.weight, .*down_proj.weight",
      /Several patterns are a list: \["model\.norm\.weight","\.\*down_proj\.weight"\]\.$/,
    ],
    [
      "llama",
      { target_modules: ["q_proj"] },
      ".*q_proj\\.weight",
      /takes model.*q_proj\.weight, and LoRA adapts/,
    ],
    [
      "qwen3",
      { target_modules: ["lm_head"] },
      "model\\.embed_tokens\\.weight",
      /takes model\.embed_tokens\.weight, and LoRA adapts lm_head, whose weight that is as well/,
    ],
    [
      "qwen3",
      { trainable_token_indices: { lm_head: [3] } },
      "model\\.embed_tokens\\.weight",
      /takes model\.embed_tokens\.weight, and trainable_token_indices takes rows of it/,
    ],
    [
      "llama",
      { trainable_token_indices: { lm_head: [3] } },
      "lm_head\\.weight",
      /takes lm_head\.weight, and trainable_token_indices takes rows of it/,
    ],
    ["llama", {}, "(?!x)", /train\.requires_grad: the pattern .* cannot be used/],
  ])("on %s with %j refuses %s", (model, lora, pattern, message) => {
    expect(() => chosen(model, lora, pattern)).toThrow(message);
  });
});
