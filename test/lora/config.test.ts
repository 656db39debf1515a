import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { nearestName } from "../../src/base/nearest.ts";
import { parseAdapterConfig, parseLoraConfig } from "../../src/lora/config.ts";
import { LORA_KEYS } from "../../src/lora/fields.ts";

const saved = JSON.parse(
  readFileSync(new URL("fixtures/adapters/llama/adapter_config.json", import.meta.url), "utf8"),
) as JsonObject;

describe("the lora part of a run file", () => {
  it("knows every key that PEFT saves, and takes each at its default", () => {
    expect([...LORA_KEYS].filter((key) => key !== "runtime_config").sort()).toEqual(
      Object.keys(saved).sort(),
    );
    expect(parseLoraConfig(saved).stated.sort()).toEqual(Object.keys(saved).sort());
  });

  it("takes keys that only describe, and keeps them", () => {
    const described = {
      task_type: "CAUSAL_LM",
      base_model_name_or_path: "some/model",
      revision: "main",
      inference_mode: true,
      peft_version: "0.15.0",
      peft_type: "LORA",
      auto_mapping: { base_model_class: "LlamaForCausalLM" },
    };
    expect(parseLoraConfig(described).config.described).toEqual(described);
  });

  it.each<[JsonObject, string]>([
    [{ init_lora_weights: "corda" }, 'lora.init_lora_weights is "corda", expected true, false,'],
    [
      { init_lora_weights: "pissa_niter_" },
      'lora.init_lora_weights is "pissa_niter_", expected true, false,',
    ],
    [{ init_lora_weights: "eva" }, 'lora.init_lora_weights is "eva", expected true, false,'],
    [{ target_parameters: ["experts.gate"] }, "lora.target_parameters is"],
    [{ layer_replication: [[0, 4]] }, "lora.layer_replication is [[0,4]]: stacking layers"],
    [{ eva_config: { rho: 2 } }, "lora.eva_config is"],
    [{ loftq_config: { loftq_bits: 4 } }, "lora.loftq_config is"],
    [{ use_qalora: true }, "lora.use_qalora is true"],
    [{ alora_invocation_tokens: [1, 2] }, "lora.alora_invocation_tokens is [1,2]"],
    [{ runtime_config: { ephemeral_gpu_offload: true } }, "lora.runtime_config is"],
    [{ megatron_config: { a: 1 } }, "lora.megatron_config is"],
    [{ monteclora_config: { a: 1 } }, "lora.monteclora_config is"],
  ])("refuses by name what is not built: %j", (lora, message) => {
    expect(() => parseLoraConfig(lora)).toThrow(message);
  });

  it.each<[unknown, string]>([
    [{ r: 0 }, "lora.r is 0, expected an integer of at least 1."],
    [{ r: -2 }, "lora.r is -2, expected an integer of at least 1."],
    [{ r: 1.5 }, "lora.r is 1.5, expected an integer of at least 1."],
    [{ r: "8" }, 'lora.r is "8", expected an integer of at least 1.'],
    [{ r: null }, "lora.r is null"],
    [{ lora_alpha: 0 }, "lora.lora_alpha is 0, expected a number above 0."],
    [{ lora_dropout: 1 }, "lora.lora_dropout is 1, expected a number from 0 to below 1."],
    [{ lora_dropout: -0.1 }, "lora.lora_dropout is -0.1"],
    [{ target_modules: 3 }, "lora.target_modules is 3, expected a list of module names"],
    [{ target_modules: [""] }, "lora.target_modules"],
    [{ target_modules: ["q_proj", 1] }, "lora.target_modules"],
    [{ modules_to_save: "lm_head" }, 'lora.modules_to_save is "lm_head", expected a list'],
    [{ layers_to_transform: [0, -1] }, "lora.layers_to_transform"],
    [{ rank_pattern: { q_proj: 0 } }, "lora.rank_pattern.q_proj is 0, expected an object from module names"],
    [{ rank_pattern: [4] }, "lora.rank_pattern is [4]"],
    [{ alpha_pattern: { q_proj: "2" } }, 'lora.alpha_pattern.q_proj is "2"'],
    [JSON.parse('{"rank_pattern": {"__proto__": 4}}'), "lora.rank_pattern is"],
    [{ task_type: "CHAT" }, 'lora.task_type is "CHAT", expected one of SEQ_CLS'],
    [{ peft_type: "ADALORA" }, 'lora.peft_type is "ADALORA", expected "LORA"'],
    [{ layers_pattern: "layers" }, "layers_to_transform is absent"],
    [
      { target_modules: ".*q_proj", layers_to_transform: [0] },
      "cannot be used while target_modules is a string",
    ],
    [{ target_modules: "all-linear", layers_pattern: "h", layers_to_transform: 0 }, "cannot be used while"],
    [{ bias: "boft_only" }, 'lora.bias is "boft_only", expected "none", "all" or "lora_only".'],
    [{ lora_bias: true, init_lora_weights: "gaussian" }, "lora.lora_bias is true, and init_lora_weights is"],
    [{ lora_bias: true, use_dora: true }, "lora.lora_bias and lora.use_dora are both true"],
    [{ use_dora: "true" }, 'lora.use_dora is "true", expected true or false.'],
    [{ lora_r: 4 }, 'lora: unknown key "lora_r". The nearest known key is "'],
    [{ target_module: ["q_proj"] }, 'The nearest known key is "target_modules".'],
    [JSON.parse('{"__proto__": {}}'), 'lora: unknown key "__proto__"'],
    [null, "lora is null, expected an object."],
  ])("is refused: %j", (lora, message) => {
    expect(() => parseLoraConfig(lora)).toThrow(message);
  });
});

describe("a loaded adapter_config.json", () => {
  it("may have begun in a way that leaves the base weights alone", () => {
    for (const init of [true, false, "gaussian", "eva", "mica", "orthogonal"]) {
      const { config } = parseAdapterConfig({
        peft_type: "LORA",
        init_lora_weights: init,
        eva_config: { rho: 2 },
      });
      expect(config.init_lora_weights).toBe(init);
    }
  });

  it("may write its start in capitals where PEFT lets it", () => {
    const startOf = (init: string) =>
      parseAdapterConfig({ peft_type: "LORA", init_lora_weights: init }).config.init_lora_weights;
    expect(["Gaussian", "OLoRA", "MiCA"].map(startOf)).toEqual(["gaussian", "olora", "mica"]);
    for (const init of ["EVA", "PiSSA", "Orthogonal"])
      expect(() => startOf(init)).toThrow("init_lora_weights");
  });

  it("may keep how a start was computed of which it was freed", () => {
    const left = {
      ...{ corda_config: { corda_method: "ipm" }, lora_ga_config: { scale: "stable" } },
      ...{ eva_config: { rho: 2 }, loftq_config: { loftq_bits: 4 } },
    };
    expect(parseAdapterConfig({ peft_type: "LORA", ...left }).config.described).toMatchObject(left);
    for (const [key, value] of Object.entries(left)) {
      expect(() => parseLoraConfig({ [key]: value })).toThrow(`lora.${key} is`);
    }
  });

  it("may have alphas that switch it off or take it away, as in PEFT", () => {
    const { config } = parseAdapterConfig({
      peft_type: "LORA",
      lora_alpha: -8,
      alpha_pattern: { q_proj: 0 },
    });
    expect([config.lora_alpha, config.alpha_pattern]).toEqual([-8, { q_proj: 0 }]);
    expect(() => parseAdapterConfig({ peft_type: "LORA", lora_alpha: "8" })).toThrow("expected a number");
  });

  it("keeps unknown keys apart from an object's own", () => {
    const { config } = parseAdapterConfig(JSON.parse('{"peft_type": "LORA", "__proto__": {"polluted": 1}}'));
    expect(Object.keys(config.described)).toEqual(["peft_type", "__proto__"]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect((config.described as Record<string, unknown>).polluted).toBeUndefined();
  });
});

it("finds the nearest name by edits", () => {
  expect(nearestName("lern_rate", ["seed", "learning_rate", "r"])).toBe("learning_rate");
  expect(nearestName("R", ["rank", "r"])).toBe("r");
  expect(nearestName("x", [])).toBeUndefined();
  // As edits go lm_head is nearer.
  expect(nearestName("embed", ["lm_head", "embed_tokens"])).toBe("embed_tokens");
});
