import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { parseLoraConfig } from "../../src/lora/config.ts";
import { selectModules } from "../../src/lora/targets.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { Model } from "../../src/models/model.ts";
import { parameterGroups } from "../../src/train/parameterGroups.ts";
import { parseRunFile } from "../../src/train/runFile.ts";

/** The groups of a run on one of the reference's bases: [by, lr, weight decay, names without the wrappers]. */
function groupsOf(base: string, lora: JsonObject, train: JsonObject) {
  const json = readFileSync(`reference/dumps/bases/${base}/config.json`, "utf8");
  const model = new Model(parseModelConfig(JSON.parse(json) as JsonObject), new Map());
  const { config } = parseLoraConfig(lora);
  const { modelType } = model.config;
  const selection = selectModules(model.modules, config, { modelType, origin: "run", path: "lora" });
  const run = parseRunFile({ train: { learning_rate: 0.01, weight_decay: 0.1, ...train } }, "run.json");
  return parameterGroups(model, selection, run.train).map(({ by, lr, weight_decay, keys }) => {
    const names = keys.map((key) => key.replace(/^base_model\.model\.(model|transformer)\.?/, ""));
    return [by, lr, weight_decay, names] as const;
  });
}

const layer0 = (module: string) => `layers.0.${module}`;

describe("parameter groups", () => {
  it("are the Trainer's two: biases and norms do not decay", () => {
    const lora = {
      target_modules: ["layers.0.self_attn.q_proj"],
      modules_to_save: ["layers.0.input_layernorm"],
      ...{ bias: "lora_only", use_dora: true },
    };
    const q = layer0("self_attn.q_proj");
    expect(groupsOf("llama_bias", lora, {})).toEqual([
      [null, 0.01, 0.1, [`${q}.lora_A.weight`, `${q}.lora_B.weight`, `${q}.lora_magnitude_vector`]],
      [null, 0.01, 0, [`${layer0("input_layernorm")}.weight`, `${q}.base_layer.bias`]],
    ]);
  });

  it("are PEFT's with LoRA+: RMSNorm decays, LayerNorm does not, embeddings learn at a rate of their own", () => {
    const train = { loraplus_lr_ratio: 16 };
    const lora = {
      target_modules: ["layers.0.mlp.up_proj", "embed_tokens"],
      modules_to_save: ["model.norm"],
    };
    const up = layer0("mlp.up_proj");
    expect(groupsOf("llama", lora, train)).toEqual([
      [
        "loraplus_lr_embedding",
        1e-6,
        0.1,
        ["embed_tokens.lora_embedding_A", "embed_tokens.lora_embedding_B"],
      ],
      [null, 0.01, 0.1, [`${up}.lora_A.weight`]],
      ["loraplus_lr_ratio", 0.16, 0.1, [`${up}.lora_B.weight`, "norm.weight"]],
    ]);
    const gpt2 = { target_modules: ["h.0.mlp.c_fc"], modules_to_save: ["ln_f"], lora_bias: true };
    const fc = "h.0.mlp.c_fc";
    expect(groupsOf("gpt2", gpt2, train)).toEqual([
      [null, 0.01, 0.1, [`${fc}.lora_A.weight`]],
      ["loraplus_lr_ratio", 0.16, 0.1, [`${fc}.lora_B.weight`]],
      ["loraplus_lr_ratio", 0.16, 0, [`${fc}.lora_B.bias`, "ln_f.weight", "ln_f.bias"]],
    ]);
  });

  it("are the run file's first, with what these leave open as it would be without them", () => {
    const lora = { target_modules: ["layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj"] };
    const train = {
      loraplus_lr_ratio: 2,
      param_groups: [
        { params: ".*layers\\.0.*lora_A.*", lr: 0 },
        { params: ".*\\.lora_[AB]\\.weight", weight_decay: 0.5 },
      ],
    };
    const [zero, one] = ["layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj"];
    expect(groupsOf("llama", lora, train)).toEqual([
      ["param_groups[0]", 0, 0.1, [`${zero}.lora_A.weight`]],
      ["param_groups[1]", 0.02, 0.5, [`${zero}.lora_B.weight`, `${one}.lora_B.weight`]],
      ["param_groups[1]", 0.01, 0.5, [`${one}.lora_A.weight`]],
    ]);
  });

  it("must each take a tensor", () => {
    const of = (...patterns: string[]) =>
      groupsOf(
        "llama",
        { target_modules: ["v_proj"] },
        { param_groups: patterns.map((params) => ({ params })) },
      );
    // The whole name, as everywhere.
    expect(() => of("v_proj.lora_A.weight")).toThrow(
      /train\.param_groups\[0\]: "v_proj.lora_A.weight" matches the whole name of no tensor that trains\. The nearest name is "base_model.*lora_A\.weight"\./,
    );
    expect(() => of(".*lora.*", ".*lora_A.*")).toThrow(
      'train.param_groups[1]: all that ".*lora_A.*" matches is in groups before it',
    );
    expect(() => of("(?=x)")).toThrow(/train\.param_groups\[0\]\.params: the pattern .* cannot be used/);
  });
});
