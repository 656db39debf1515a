import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { parseLoraConfig } from "../../src/lora/config.ts";
import { exportConfig } from "../../src/lora/exportConfig.ts";
import type { Selection } from "../../src/lora/selection.ts";
import { selectModules } from "../../src/lora/targets.ts";
import { cpuMs, SECOND_MS } from "../harness/second.ts";
import { adapterOn, MODELS, runOn } from "./fixtures.ts";

const names = (selection: Selection) => selection.lora.map(({ module }) => module.name);

describe("a new run", () => {
  it("names a listed target that matches nothing, where PEFT stays silent", () => {
    expect(() => runOn("llama", { target_modules: ["q_proj", "w_proj"] })).toThrow(
      /lora\.target_modules: "w_proj" matches no module of the model. The nearest name is "\w_proj"\./,
    );
    expect(() => runOn("llama", { target_modules: ["self_attn.q_prj"] })).toThrow(
      'The nearest name is "self_attn.q_proj".',
    );
    expect(() => runOn("llama", { modules_to_save: ["ln_head"] })).toThrow(
      'lora.modules_to_save: "ln_head" matches no module of the model. The nearest name is "lm_head".',
    );
    expect(adapterOn("llama", { target_modules: ["q_proj", "w_proj"] }).warnings.join()).toContain(
      '"w_proj"',
    );
    expect(adapterOn("llama", { modules_to_save: ["ln_head"] }).warnings.join()).toContain('"ln_head"');
  });

  it.each<[JsonObject, RegExp]>([
    [{ target_modules: [] }, /no module is adapted by target_modules \[\].*The model has .*q_proj/],
    [{ target_modules: ".*nothing" }, /no module is adapted/],
    [{ target_modules: ["q_proj"], exclude_modules: ["q_proj"] }, /with exclude_modules \["q_proj"\]/],
    [{ target_modules: ["q_proj"], layers_to_transform: [99] }, /with layers_to_transform \[99\]/],
    [{ target_modules: ["embed_tokens"], lora_bias: true }, /takes model\.embed_tokens, an embedding: PEFT/],
    [{ target_modules: ["norm"] }, /takes model\.norm, which is a norm/],
    [{ target_modules: ["mlp"] }, /takes model\.layers\.0\.mlp, which is no linear layer/],
    [{ target_modules: ".*mlp.*" }, /takes model\.layers\.0\.mlp/],
    [
      { modules_to_save: ["attn"] },
      /"attn" takes model\.layers\.0\.self_attn, and LoRA adapts .*0\.self_attn\.q_proj/,
    ],
    [{ modules_to_save: ["_proj"] }, /"_proj" takes model\.layers\.0\.self_attn\.q_proj, and LoRA adapts/],
    [
      { modules_to_save: ["mlp", "mlp.up_proj"] },
      /takes both model\.layers\.0\.mlp and model\.layers\.0\.mlp\.up_proj/,
    ],
    [{ modules_to_save: ["act_fn"] }, /"act_fn" matches no module/],
  ])("is refused: %j", (lora, message) => {
    expect(() => runOn("llama", lora)).toThrow(message);
  });

  it("needs targets where PEFT has no default for the model", () => {
    const { config } = parseLoraConfig({});
    const select = () =>
      selectModules(MODELS.llama, config, { modelType: "bert", origin: "run", path: "lora" });
    expect(select).toThrow('lora.target_modules is absent, and PEFT has no default for model_type "bert".');
  });

  it("says what has no effect", () => {
    const { warnings } = runOn("llama", {
      target_modules: ["q_proj", "k_proj"],
      exclude_modules: ["nothing", "k_proj"],
      layers_to_transform: [0, 77],
      rank_pattern: { up_proj: 2 },
      alpha_pattern: { q_proj: 2, ".*v_proj": 3 },
      fan_in_fan_out: true,
    });
    expect(warnings).toEqual([
      expect.stringContaining('all that "k_proj" matches is excluded'),
      expect.stringContaining('exclude_modules: "nothing" matches no module'),
      expect.stringContaining("the model has no layer 77"),
      expect.stringContaining('rank_pattern: "up_proj" matches no adapted module'),
      expect.stringContaining('alpha_pattern: ".*v_proj" matches no adapted module'),
      expect.stringContaining("fan_in_fan_out is true"),
    ]);
  });

  it("cuts a rank to the matrix, with the scale of the rank that is left", () => {
    // q is [8, 8] and k [4, 8].
    const selection = runOn("llama", { r: 6, lora_alpha: 12, target_modules: ["q_proj", "k_proj"] });
    const [q, k] = selection.lora;
    expect([q!.r, q!.scale, k!.r, k!.scale]).toEqual([6, 2, 4, 3]);
    expect(selection.warnings.join()).toContain("reduced for model.layers.0.self_attn.k_proj 6 → 4");
    expect(selection.warnings.join()).toContain("and 8 more");
  });

  it("takes biases as PEFT does: all, norms' too, or those of adapted modules", () => {
    const biases = (lora: JsonObject) =>
      runOn("gpt2", { target_modules: ["h.0.attn.c_attn"], ...lora }).whole.map(({ key }) =>
        key.replace("base_model.model.transformer.", ""),
      );
    expect(biases({})).toEqual([]);
    expect(biases({ bias: "lora_only" })).toEqual(["h.0.attn.c_attn.base_layer.bias"]);
    expect(biases({ bias: "all" })).toContainEqual("h.0.attn.c_attn.base_layer.bias");
    expect(biases({ bias: "all" })).toContainEqual("h.0.mlp.c_proj.bias");
    expect(biases({ bias: "all" })).toContainEqual("ln_f.bias");
    const beside = biases({ bias: "all", modules_to_save: ["ln_f"] });
    expect(beside.filter((key) => key.startsWith("ln_f"))).toEqual(["ln_f.weight", "ln_f.bias"]);
    expect(biases({ bias: "lora_only", modules_to_save: ["ln_f"] })).toHaveLength(3);
  });

  it("refuses an alpha whose scale no f32 holds: every logit would be NaN", () => {
    expect(() => adapterOn("llama", { lora_alpha: 1e300 })).toThrow(
      /has the scale 1.25e\+299 by its alpha of 1e\+300/,
    );
    expect(() => runOn("llama", { alpha_pattern: { v_proj: 1e40 } })).toThrow(
      /v_proj has the scale 2.5e\+39/,
    );
  });

  it("opens an adapter that has a bias by bias and by modules_to_save: PEFT reads it as the latter", () => {
    const { whole } = adapterOn("gpt2", {
      target_modules: ["c_attn"],
      bias: "all",
      modules_to_save: ["ln_f"],
    });
    const ofNorm = whole.filter(({ module }) => module.name === "transformer.ln_f");
    expect(ofNorm.map(({ key }) => key)).toEqual(
      ["weight", "bias"].map((parameter) => `base_model.model.transformer.ln_f.${parameter}`),
    );
  });

  it("warns of biases that are not there, and of such as cannot be merged", () => {
    expect(runOn("llama", { bias: "all" }).warnings.join()).toContain("no module has a bias");
    expect(runOn("llama", { lora_bias: true }).warnings.join()).toContain("23 more have no bias");
    expect(runOn("gpt2", { lora_bias: true, bias: "all" }).warnings).toEqual([]);
  });

  it("refuses an odd rank where the start halves it, also one that was cut", () => {
    const odd = { init_lora_weights: "orthogonal", target_modules: ["q_proj"], rank_pattern: { "1.*": 3 } };
    expect(() => runOn("llama", odd)).toThrow(/halves the rank, but model\.layers\.1.*q_proj has rank 3/);
    expect(runOn("llama", { ...odd, rank_pattern: {} }).lora).toHaveLength(12);
    // An embedding has no such start.
    const embedding = { init_lora_weights: "orthogonal", r: 3, target_modules: ["embed_tokens"] };
    expect(runOn("llama", embedding).lora).toHaveLength(1);
  });

  it("never cuts the rank of an adapter that is loaded", () => {
    const { lora } = adapterOn("llama", { r: 100, target_modules: ["k_proj"] });
    expect(lora.every(({ r }) => r === 100)).toBe(true);
  });
});

describe("a pattern that would hang a backtracking engine", () => {
  it.each(["(.*)*_proj", "(.*)*_proq", "(a|a|.)*(.*.*)*$", "((.*)*)*x"])(
    "%s is matched at once",
    (pattern) => {
      const start = cpuMs();
      try {
        runOn("llama", { target_modules: pattern, exclude_modules: pattern, rank_pattern: { [pattern]: 2 } });
      } catch (thrown) {
        expect(String(thrown)).toContain("no module is adapted");
      }
      expect(cpuMs() - start).toBeLessThan(SECOND_MS);
    },
  );

  it("selects what it means", () => {
    expect(names(runOn("llama", { target_modules: "(.*)*_proj" }))).toHaveLength(84);
  });
});

describe("the exported config", () => {
  // PEFT, reading the export, must adapt the same modules with the same ranks and scales.
  const cases: [string, JsonObject][] = [
    ["plain", { r: 2, target_modules: ["q_proj"] }],
    ["defaults for the family", { r: 2 }],
    ["all-linear, ranks cut", { r: 100, lora_alpha: 7, target_modules: "all-linear" }],
    ["cut beside a pattern", { r: 2, target_modules: ["q_proj", "k_proj"], rank_pattern: { ".*": 6 } }],
    ["an order that sorting would change", { r: 2, rank_pattern: { v_proj: 3, ".*_proj": 4, q_proj: 5 } }],
    [
      "an order within alphas",
      { alpha_pattern: { q_proj: 3, "layers.1.*": 9, "(q|v)_proj": 4 }, use_rslora: true },
    ],
    [
      "the default after a pattern",
      { r: 6, rank_pattern: { k_proj: 6, ".*k_proj": 2 }, target_modules: ["k_proj"] },
    ],
    ["a layer inside the name of another", { r: 3, rank_pattern: { "1.self_attn.q_proj": 2, "model.*": 4 } }],
  ];
  it.each(cases)("gives the same modules, ranks and scales: %s", (_, lora) => {
    const { config } = parseLoraConfig(lora);
    const selection = runOn("llama", lora);
    const exported = exportConfig(selection, config, "base");
    // The file is read in sorted order, as it is written.
    const sorted = (map: unknown) =>
      Object.fromEntries(Object.entries(map as object).sort(([a], [b]) => (a < b ? -1 : 1)));
    const again = adapterOn("llama", {
      ...exported,
      rank_pattern: sorted(exported.rank_pattern),
      alpha_pattern: sorted(exported.alpha_pattern),
    });
    expect(again.lora).toEqual(selection.lora);
    expect(again.warnings).toEqual([]);
  });

  it("keeps patterns as they are written where they come to the same", () => {
    const rank_pattern = { ".*.1.*": 3, q_proj: 2 };
    const lora = { r: 1, rank_pattern };
    const { config } = parseLoraConfig(lora);
    expect(exportConfig(runOn("llama", lora), config, null).rank_pattern).toEqual(rank_pattern);
  });

  it("names the base model and the task, unless the run file does", () => {
    const selection = runOn("gpt2", {});
    expect(exportConfig(selection, parseLoraConfig({}).config, "base")).toMatchObject({
      base_model_name_or_path: "base",
      task_type: "CAUSAL_LM",
      inference_mode: true,
      fan_in_fan_out: true,
      target_modules: ["c_attn"],
    });
    const { config } = parseLoraConfig({ base_model_name_or_path: "mine", task_type: "FEATURE_EXTRACTION" });
    expect(exportConfig(selection, config, "base")).toMatchObject({
      base_model_name_or_path: "mine",
      task_type: "FEATURE_EXTRACTION",
    });
  });
});
