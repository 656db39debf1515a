import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { compareWithAdapter } from "../../src/lora/compare.ts";
import { parseAdapterConfig, parseLoraConfig } from "../../src/lora/config.ts";
import { adapterOn, MODELS } from "./fixtures.ts";

function compare(run: JsonObject, adapter: JsonObject): string[] {
  const { config: lora, stated } = parseLoraConfig(run);
  const { config } = parseAdapterConfig({ peft_type: "LORA", ...adapter });
  return compareWithAdapter(
    { lora, stated },
    { config, selection: adapterOn("llama", adapter) },
    MODELS.llama,
    "llama",
  );
}

const ADAPTER = {
  r: 4,
  lora_alpha: 8,
  target_modules: ["q_proj", "v_proj"],
  lora_dropout: 0.1,
  task_type: "CAUSAL_LM",
};
const everyLayer = (name: string) => Array.from({ length: 12 }, (_, i) => `model.layers.${i}.${name}`);

describe("a run file agrees with the adapter it starts from", () => {
  it.each<[string, JsonObject, JsonObject]>([
    ["when it states nothing", {}, ADAPTER],
    ["when it states the same", ADAPTER, ADAPTER],
    ["in another order", { target_modules: ["v_proj", "q_proj"] }, ADAPTER],
    ["in another spelling", { target_modules: ["self_attn.q_proj", "self_attn.v_proj"] }, ADAPTER],
    ["by a pattern", { target_modules: ".*\\.(q|v)_proj" }, ADAPTER],
    [
      "by every name",
      { target_modules: [...everyLayer("self_attn.q_proj"), ...everyLayer("self_attn.v_proj")] },
      ADAPTER,
    ],
    ["by the family's default", { target_modules: null }, ADAPTER],
    ["by all-linear", { target_modules: "all-linear" }, { target_modules: ".*_proj" }],
    [
      "about layers that the adapter has in its names",
      { target_modules: ["q_proj"], layers_to_transform: [1] },
      { target_modules: ["model.layers.1.self_attn.q_proj"] },
    ],
    ["about layers alone", { layers_to_transform: [1] }, { target_modules: ".*\\.1\\..*q_proj" }],
    [
      "about ranks that patterns give",
      { rank_pattern: { ".*": 2 } },
      { r: 8, rank_pattern: { q_proj: 2, v_proj: 2 } },
    ],
    [
      "about a rank above the matrix",
      { r: 100, rank_pattern: {} },
      { r: 100, target_modules: ["k_proj"], rank_pattern: { k_proj: 4 } },
    ],
    ["about nothing to save", { modules_to_save: [] }, ADAPTER],
    [
      "whatever only describes",
      { task_type: null, inference_mode: true, base_model_name_or_path: "other", peft_version: "1" },
      ADAPTER,
    ],
    ["about fan_in_fan_out, which follows from the modules", { fan_in_fan_out: true }, ADAPTER],
    ["about biases that there are none of", { bias: "all" }, ADAPTER],
    ["about excluding what is not there", { exclude_modules: ["lm_head"] }, ADAPTER],
  ])("%s", (_, run, adapter) => {
    expect(compare(run, adapter)).toEqual([]);
  });

  it("where the initial values differ, which have no effect any more: it says so", () => {
    expect(compare({ init_lora_weights: "gaussian" }, ADAPTER)).toEqual([
      expect.stringContaining("init_lora_weights has no effect"),
    ]);
  });
});

describe("a run file disagrees with the adapter it starts from", () => {
  it.each<[JsonObject, JsonObject, string]>([
    [{ r: 8 }, ADAPTER, "lora.r is 8, the adapter has 4."],
    [{ lora_alpha: 16 }, ADAPTER, "lora.lora_alpha is 16, the adapter has 8."],
    [{ lora_dropout: 0 }, ADAPTER, "lora.lora_dropout is 0, the adapter has 0.1."],
    [{ use_rslora: true }, ADAPTER, "lora.use_rslora is true, the adapter has false."],
    [
      { target_modules: ["q_proj"] },
      ADAPTER,
      'lora.target_modules is ["q_proj"], the adapter has ["q_proj","v_proj"].',
    ],
    [
      { target_modules: ["up_proj"] },
      { ...ADAPTER, exclude_modules: ["up_proj"] },
      'lora.target_modules is ["up_proj"]',
    ],
    [{ layers_to_transform: [0] }, ADAPTER, "lora.layers_to_transform is [0], the adapter has null."],
    [
      { layers_to_transform: null },
      { ...ADAPTER, layers_to_transform: [0] },
      "lora.layers_to_transform is null, the adapter has [0].",
    ],
    [
      { layers_to_transform: [2] },
      { target_modules: ".*\\.1\\..*q_proj" },
      "lora.layers_to_transform is [2]",
    ],
    [{ rank_pattern: { q_proj: 2 } }, ADAPTER, 'lora.rank_pattern is {"q_proj":2}, the adapter has {}.'],
    [{ alpha_pattern: { q_proj: 2 } }, ADAPTER, 'lora.alpha_pattern is {"q_proj":2}'],
    // PEFT sorts the keys as it saves them, and then another pattern is the first that matches.
    [
      { alpha_pattern: { q_proj: 2, ".*": 3 } },
      { ...ADAPTER, alpha_pattern: { ".*": 3, q_proj: 2 } },
      'lora.alpha_pattern is {"q_proj":2,".*":3}, the adapter has {".*":3,"q_proj":2}.',
    ],
    [{ modules_to_save: ["lm_head"] }, ADAPTER, 'lora.modules_to_save is ["lm_head"], the adapter has null.'],
    [{ exclude_modules: ["v_proj"] }, ADAPTER, 'lora.exclude_modules is ["v_proj"], the adapter has null.'],
    [{ use_dora: true }, ADAPTER, "lora.use_dora is true, the adapter has false."],
    [{ lora_bias: true }, ADAPTER, "lora.lora_bias is true, the adapter has false."],
    [{ target_modules: ["v_proj", "q_proj"], r: 8 }, ADAPTER, "disagree: lora.r is 8, the adapter has 4."],
    [
      { r: 2, lora_alpha: 4 },
      ADAPTER,
      "lora.r is 2, the adapter has 4; lora.lora_alpha is 4, the adapter has 8.",
    ],
  ])("%j", (run, adapter, message) => {
    expect(() => compare(run, adapter)).toThrow(message);
  });
});
