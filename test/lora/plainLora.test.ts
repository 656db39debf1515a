import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { loraKey, startKey } from "../../src/lora/adapterKeys.ts";
import { parseLoraConfig } from "../../src/lora/config.ts";
import { exportConfig } from "../../src/lora/exportConfig.ts";
import { plainLora } from "../../src/lora/plainLora.ts";
import type { Selection } from "../../src/lora/selection.ts";
import { adapterOn, runOn } from "./fixtures.ts";

function converted(lora: JsonObject, selection: Selection = runOn("llama", lora)) {
  const { config } = parseLoraConfig(lora);
  const values = new Map<string, Float32Array>();
  for (const { module, r, fromBase } of selection.lora) {
    const { name, kind } = module;
    values.set(
      loraKey(name, "lora_A", kind),
      Float32Array.from({ length: 2 * r }, (_, i) => i + 1),
    );
    values.set(
      loraKey(name, "lora_B", kind),
      Float32Array.from({ length: 3 * r }, (_, i) => 2 * i - 1),
    );
    if (fromBase === null) continue;
    values.set(
      startKey(name, "lora_A"),
      Float32Array.from({ length: 2 * r }, (_, i) => 5 - i),
    );
    values.set(
      startKey(name, "lora_B"),
      Float32Array.from({ length: 3 * r }, (_, i) => -7 * i),
    );
  }
  const json = exportConfig(selection, config, "base");
  return { selection, values, plain: plainLora({ json, selection, values }, config) };
}

describe("an adapter that began as a part of the base, as plain LoRA", () => {
  it.each<[string, JsonObject]>([
    ["pissa", { init_lora_weights: "pissa", r: 4, lora_alpha: 6 }],
    ["olora", { init_lora_weights: "olora", r: 3, lora_alpha: 1 }],
    ["rsLoRA", { init_lora_weights: "pissa_niter_4", r: 5, lora_alpha: 7, use_rslora: true }],
    [
      "patterns beside rsLoRA, which PEFT does not convert",
      {
        ...{ init_lora_weights: "pissa", r: 5, lora_alpha: 7, use_rslora: true },
        ...{ rank_pattern: { "layers.1.*q_proj": 3 }, alpha_pattern: { v_proj: 2.5 } },
      },
    ],
    [
      "an embedding, which begins as ever",
      {
        ...{ init_lora_weights: "pissa", target_modules: ["embed_tokens", "q_proj"] },
        ...{ r: 4, rank_pattern: { embed_tokens: 3 }, alpha_pattern: { q_proj: 9 } },
      },
    ],
  ])("has twice the rank, and the same scales: %s", (_, lora) => {
    const { selection, plain } = converted(lora);
    const again = adapterOn("llama", plain.json);
    expect(plain.json.init_lora_weights).toBe(true);
    expect(again.lora.map(({ module, r, alpha }) => [module.name, r, alpha])).toEqual(
      plain.selection.lora.map(({ module, r, alpha }) => [module.name, r, alpha]),
    );
    again.lora.forEach(({ module, r, scale, fromBase }, i) => {
      const before = selection.lora[i]!;
      expect(fromBase).toBe(null);
      expect(r).toBe(module.kind === "embedding" ? before.r : 2 * before.r);
      expect(Math.abs(scale / before.scale - 1)).toBeLessThan(1e-15);
    });
  });

  it("is written as PEFT's subtract_mutated_init has it", () => {
    const lora = { init_lora_weights: "olora", r: 2, lora_alpha: 3, target_modules: ["q_proj"] };
    expect(converted(lora).plain.json).toMatchObject({ r: 4, lora_alpha: 6, rank_pattern: {} });
    const stabilised = converted({ ...lora, use_rslora: true }).plain.json;
    expect(stabilised).toMatchObject({ r: 4, lora_alpha: 3 * Math.SQRT2, alpha_pattern: {} });
  });

  it("has what it began as behind what it has become, B's negated as it runs", () => {
    const lora = { init_lora_weights: "pissa", r: 2, target_modules: ["q_proj"] };
    const { selection, plain } = converted(lora);
    const { name } = selection.lora[0]!.module;
    expect([...plain.values.get(loraKey(name, "lora_A"))!]).toEqual([1, 2, 3, 4, 5, 4, 3, 2]);
    expect([...plain.values.get(loraKey(name, "lora_B"))!]).toEqual([
      -1, 1, -0, -7, 3, 5, -14, -21, 7, 9, -28, -35,
    ]);
    expect(plain.values.has(startKey(name, "lora_A"))).toBe(false);
    expect(plain.values.has(startKey(name, "lora_B"))).toBe(false);
  });

  it("is the adapter itself where that did not begin so", () => {
    const { selection, values, plain } = converted({ init_lora_weights: "gaussian" });
    expect(plain.selection).toBe(selection);
    expect(plain.values).toBe(values);
  });
});

describe("an adapter's file that began as a part of the base", () => {
  it.each([
    ["pissa", false],
    ["olora", true],
  ])(
    "has the rank of its matrix at most, and the scale of the rank that it states: %s",
    (init_lora_weights, use_rslora) => {
      const config = {
        r: 100_000,
        lora_alpha: 50,
        use_rslora,
        init_lora_weights,
        target_modules: ["k_proj"],
      };
      const { r, alpha, scale, module } = adapterOn("llama", config).lora[0]!;
      const full = Math.min(module.inFeatures, module.outFeatures);
      expect(r).toBe(full);
      expect(scale).toBe(50 / (use_rslora ? Math.sqrt(100_000) : 100_000));
      expect(alpha / (use_rslora ? Math.sqrt(full) : full)).toBeCloseTo(scale, 15);
    },
  );

  it.each<["llama" | "gpt2", JsonObject, RegExp]>([
    ["llama", { init_lora_weights: "pissa_niter_16" }, /that start is random, and the file does not hold it/],
    [
      "gpt2",
      { init_lora_weights: "olora" },
      /Conv1D transformer\.h\.0\.attn\.c_attn as it is stored, \[in, out\]/,
    ],
  ])("is refused where that cannot be found again: %s %j", (model, config, says) => {
    expect(() => adapterOn(model, config)).toThrow(says);
    expect(() => adapterOn(model, config)).toThrow(/path_initial_model_for_weight_conversion/);
    runOn(model, config);
  });
});
