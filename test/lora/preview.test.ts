import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { ArenaLayout } from "../../src/graph/arena.ts";
import { targetSettings } from "../../src/lora/chooseTargets.ts";
import { parseLoraConfig } from "../../src/lora/config.ts";
import { previewTargets, type TargetPreview } from "../../src/lora/preview.ts";
import { selectModules } from "../../src/lora/targets.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { Model } from "../../src/models/model.ts";
import { layOutTrainables } from "../../src/models/trainables.ts";
import { MODELS, runOn } from "./fixtures.ts";

const preview = (model: keyof typeof MODELS, lora: JsonObject): TargetPreview =>
  previewTargets(MODELS[model], lora, { modelType: model, origin: "run", path: "lora" });
const adapted = ({ modules }: TargetPreview) => modules.filter(({ lora }) => lora).map(({ name }) => name);
const module = ({ modules }: TargetPreview, name: string) => modules.find((other) => other.name === name)!;

describe("the preview of a choice of modules", () => {
  it.each<JsonObject>([
    {},
    { target_modules: "all-linear", r: 3 },
    {
      target_modules: ".*(q|v)_proj",
      rank_pattern: { "0.self_attn.q_proj": 2 },
      alpha_pattern: { v_proj: 3 },
    },
    { target_modules: ["q_proj", "down_proj"], layers_to_transform: [1, 3], use_rslora: true },
    {
      target_modules: ["q_proj", "k_proj"],
      exclude_modules: ["5.self_attn.q_proj"],
      modules_to_save: ["norm"],
    },
  ])("says what a run chooses: %j", (lora) => {
    const shown = preview("llama", lora);
    expect(shown.faults.filter(({ isRefusal }) => isRefusal)).toEqual([]);
    const chosen = runOn("llama", lora);
    expect(shown.modules.filter((one) => one.lora).map(({ name, lora: of }) => ({ name, ...of }))).toEqual(
      chosen.lora.map(({ module: { name }, r, alpha, scale }) => ({ name, r, alpha, scale })),
    );
    expect(
      shown.modules.flatMap(({ name, whole }) => whole.map((parameter) => `${name}.${parameter}`)),
    ).toEqual(chosen.whole.map(({ module: { name }, parameter }) => `${name}.${parameter}`));
  });

  it.each<[string, JsonObject]>([
    ["llama", { target_modules: "all-linear", r: 3, use_dora: true }],
    ["llama", { target_modules: ["q_proj", "embed_tokens"], modules_to_save: ["lm_head", "norm"] }],
    ["gpt2_gelu", { r: 5, bias: "all", lora_bias: true, target_modules: ["c_attn"] }],
  ])("counts the values and bytes that a run takes: %s %j", (base, lora) => {
    const config = parseModelConfig(
      JSON.parse(readFileSync(`reference/dumps/bases/${base}/config.json`, "utf8")) as Json,
    );
    const model = new Model(config, new Map());
    const context = { modelType: config.modelType, origin: "run", path: "lora" } as const;
    const layout = new ArenaLayout(2 ** 27);
    layOutTrainables(model, selectModules(model.modules, parseLoraConfig(lora).config, context), layout);
    const { cost, modules } = previewTargets(model.modules, lora, context);
    expect(cost).toEqual({ values: layout.elements(), bytes: 4 * layout.bytes() });
    const sum = modules.reduce((bytes, one) => bytes + one.cost.bytes, 0);
    expect(sum).toBe(cost.bytes);
  });

  it("knows what requires_grad adds, and what is wrong with it", () => {
    const config = parseModelConfig(
      JSON.parse(readFileSync("reference/dumps/bases/llama/config.json", "utf8")) as Json,
    );
    const model = new Model(config, new Map());
    const context = { modelType: "llama", origin: "run", path: "lora" } as const;
    const patterns = ["model\\.norm\\.weight", ".*q_proj.weight", "nothing"];
    const requiresGrad = { patterns, parameters: model.namedParameters() };
    const shown = previewTargets(model.modules, { r: 4, target_modules: ["q_proj"] }, context, requiresGrad);
    expect(module(shown, "model.norm")).toMatchObject({ whole: ["weight"], cost: { values: 32 } });
    expect(shown.faults.map(({ key, message }) => [key, message])).toEqual([
      ["requires_grad", expect.stringContaining("and LoRA adapts model.layers.0.self_attn.q_proj")],
      ["requires_grad", expect.stringContaining('"nothing" matches')],
    ]);
  });

  it("says what a module would cost that is not chosen", () => {
    const shown = preview("llama", { r: 2, target_modules: ["q_proj"], rank_pattern: { k_proj: 1 } });
    const { inFeatures, outFeatures } = MODELS.llama.find(({ name }) => name.endsWith("0.self_attn.k_proj"))!;
    const key = module(shown, "model.layers.0.self_attn.k_proj");
    expect(key.cost).toEqual({ values: 0, bytes: 0 });
    expect(key.adapting?.values).toBe(inFeatures + outFeatures);
    expect(module(shown, "model.norm").adapting).toBeUndefined();
  });

  it("names what a listed name failed to match, and shows what the others take", () => {
    const shown = preview("llama", {
      target_modules: ["q_proj", "w_proj", "v_pro"],
      modules_to_save: ["lm_hea"],
    });
    expect(adapted(shown)).toEqual(adapted(preview("llama", { target_modules: ["q_proj"] })));
    expect(shown.faults.map(({ key, message, remedy }) => [key, message, remedy])).toEqual([
      [
        "target_modules",
        expect.stringContaining('"w_proj" matches no module'),
        expect.stringContaining("_proj"),
      ],
      [
        "target_modules",
        expect.stringContaining('"v_pro" matches no module'),
        'The nearest name is "v_proj".',
      ],
      ["modules_to_save", expect.stringContaining('"lm_hea"'), 'The nearest name is "lm_head".'],
    ]);
  });

  it("shows what is excluded, and what trains whole", () => {
    const shown = preview("llama", {
      target_modules: "all-linear",
      exclude_modules: ["0.self_attn.q_proj"],
      modules_to_save: ["lm_head"],
    });
    const excluded = shown.modules.filter(({ isExcluded }) => isExcluded).map(({ name }) => name);
    expect(excluded).toEqual(["model.layers.0.self_attn.q_proj", "lm_head"]);
    expect(module(shown, "lm_head").whole).toEqual(["weight"]);
    expect(module(shown, "model.layers.0.self_attn.q_proj").lora).toBeUndefined();
  });

  it.each<[JsonObject, string | undefined]>([
    [{ target_modules: ".*(q|v" }, "target_modules"],
    [{ target_modules: "(?<=q)_proj" }, "target_modules"],
    [{ target_modules: [] }, undefined],
    [{ target_modules: "norm.*" }, undefined],
    [{ target_modules: ["q_proj"], exclude_modules: "(" }, "exclude_modules"],
    [{ target_modules: ["q_proj"], rank_pattern: { "(": 2 } }, "rank_pattern"],
    [{ target_modules: "all-linear", layers_to_transform: [0] }, "layers_to_transform"],
    [{ lora_bias: true, use_dora: true }, "lora_bias"],
    [{ r: "x" }, "r"],
  ])("tells of what is half typed, and shows the tree all the same: %j", (lora, key) => {
    const { modules, cost, faults } = preview("llama", lora);
    expect(modules).toHaveLength(MODELS.llama.length);
    expect(cost).toEqual({ values: 0, bytes: 0 });
    expect(faults.filter(({ isRefusal }) => isRefusal).map((fault) => fault.key)).toEqual([key]);
  });

  it("lets one fault of a kind stand for all like it", () => {
    const { faults } = preview("llama", { r: 1, target_modules: ".*layers.*" });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatchObject({ key: "target_modules", isRefusal: true });
    expect(faults[0]!.alike).toBeGreaterThan(20);
  });
});

describe("settings for modules that were picked", () => {
  const proj = (layer: number, kind: string) => `model.layers.${layer}.self_attn.${kind}_proj`;
  const all = Array.from({ length: 12 }, (_, i) => i);
  const settingsOf = (names: readonly string[], lora: JsonObject = {}) =>
    targetSettings(new Set(names), preview("llama", lora).modules);

  it("are as short as people write them", () => {
    const settings = (target_modules: string[], layers_to_transform: number[] | null = null) => {
      return { target_modules, layers_to_transform, layers_pattern: null };
    };
    expect(settingsOf(all.map((i) => proj(i, "q")))).toEqual(settings(["q_proj"]));
    expect(settingsOf([proj(1, "q"), proj(3, "q"), proj(1, "v"), proj(3, "v")])).toEqual(
      settings(["q_proj", "v_proj"], [1, 3]),
    );
    expect(settingsOf([proj(4, "q"), "lm_head"])).toEqual(settings(["q_proj", "lm_head"], [4]));
    expect(settingsOf([...[0, 1, 2].map((i) => proj(i, "q")), "model.embed_tokens"])).toEqual(
      settings(["q_proj", "model.embed_tokens"], [0, 1, 2]),
    );
    expect(settingsOf([])).toEqual(settings([]));
    // What is excluded need not be spared.
    const excluded = { exclude_modules: ["0.self_attn.q_proj"] };
    expect(
      settingsOf(
        all.slice(1).map((i) => proj(i, "q")),
        excluded,
      ),
    ).toEqual(settings(["q_proj"]));
  });

  it.each(["llama", "gpt2", "qwen3"] as const)("take exactly those: %s", (model) => {
    const exclude_modules = [MODELS[model].find(({ kind }) => kind !== "embedding" && kind !== "norm")!.name];
    const { modules } = preview(model, { target_modules: "all-linear", exclude_modules });
    const free = modules.filter(({ adapting, isExcluded }) => adapting && !isExcluded);
    const kinds = [...new Set(free.map(({ name }) => name.replace(/\.\d+\./, ".#.")))];
    for (let round = 0; round < 60; round++) {
      const isKind = kinds.filter(() => Math.random() < 0.4);
      const layers = all.filter(() => Math.random() < 0.6);
      const names = free
        .map(({ name }) => name)
        .filter((name) => isKind.includes(name.replace(/\.\d+\./, ".#.")))
        .filter((name) => round % 3 === 0 || layers.some((layer) => name.includes(`.${layer}.`)))
        .filter(() => round % 3 !== 1 || Math.random() < 0.8);
      if (names.length === 0) continue;
      const settings = targetSettings(new Set(names), modules) as unknown as JsonObject;
      expect(adapted(preview(model, { ...settings, exclude_modules })), JSON.stringify(settings)).toEqual(
        names,
      );
    }
  });
});
