import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { targetSettings } from "../../src/lora/chooseTargets.ts";
import { type PreviewedModule, previewTargets } from "../../src/lora/preview.ts";
import {
  blockWords,
  isBlock,
  type LayerBlock,
  modulesOfLayer,
  pickedAfter,
  pickState,
  targetTree,
  trainsWords,
} from "../../src/ui/targetTree.ts";
import { MODELS } from "../lora/fixtures.ts";

const previewed = (lora: JsonObject, model: keyof typeof MODELS = "llama"): readonly PreviewedModule[] =>
  previewTargets(MODELS[model], lora, { modelType: model, origin: "run", path: "lora" }).modules;
const blocks = (lora: JsonObject, isApart = false): LayerBlock[] =>
  targetTree(previewed(lora), isApart).filter(isBlock);
const spaced = (words: string) => words.replaceAll("\u00a0", " ");

describe("the tree of modules", () => {
  it("folds layers together where the same trains in them", () => {
    const layers = (lora: JsonObject) =>
      blocks(lora).map((block) => [block.layers.at(0), block.layers.at(-1)]);
    expect(layers({ target_modules: ["q_proj"] })).toEqual([[0, 11]]);
    expect(layers({ target_modules: ["q_proj"], layers_to_transform: [3, 4] })).toEqual([
      [0, 2],
      [3, 4],
      [5, 11],
    ]);
    expect(layers({ target_modules: ["q_proj"], rank_pattern: { "11.self_attn.q_proj": 2 } })).toHaveLength(
      2,
    );
    const others = targetTree(previewed({}, "gpt2")).flatMap((node) => (isBlock(node) ? [] : [node.name]));
    expect(others).toEqual(["transformer.wte", "transformer.wpe", "transformer.ln_f", "lm_head"]);
  });

  it("shows layers one by one where that is asked for", () => {
    expect(blocks({}, true).map(({ layers }) => layers)).toEqual(Array.from({ length: 12 }, (_, i) => [i]));
  });

  it("says in a few words what trains", () => {
    const [block] = blocks({
      r: 4,
      ...{ target_modules: ["q_proj", "v_proj", "up_proj"], modules_to_save: ["input_layernorm"] },
      rank_pattern: { up_proj: 2 },
    });
    expect(spaced(blockWords(block!))).toBe("q_proj, v_proj r 4; up_proj r 2; input_layernorm whole");
    expect(blockWords(blocks({ target_modules: ["lm_head"] })[0]!)).toBe("nothing");
    const of = (lora: JsonObject, name: string) =>
      spaced(trainsWords(previewed(lora, "gpt2").find((module) => module.name === name)!));
    expect(of({ r: 2, lora_alpha: 3 }, "transformer.h.0.attn.c_attn")).toBe("r 2, α 3");
    expect(of({ r: 2, bias: "all" }, "transformer.h.0.attn.c_attn")).toBe("r 2, α 8 + bias");
    expect(of({ bias: "all" }, "transformer.ln_f")).toBe("whole bias");
    expect(of({ exclude_modules: ["lm_head"] }, "lm_head")).toBe("excluded");
    expect(of({ trainable_token_indices: [1, 2] }, "transformer.wte")).toBe("2 rows");
    expect(of({}, "lm_head")).toBe("");
  });
});

describe("a press", () => {
  const press = (
    lora: JsonObject,
    rowsOf: (all: readonly PreviewedModule[]) => readonly PreviewedModule[],
  ) => {
    const all = previewed(lora);
    const { target_modules, layers_to_transform } = targetSettings(pickedAfter(all, rowsOf(all)), all);
    return layers_to_transform ? [target_modules, layers_to_transform] : target_modules;
  };
  const kind = (name: string) => (all: readonly PreviewedModule[]) =>
    all.filter((one) => one.name.endsWith(name));
  const layer = (number: number) => (all: readonly PreviewedModule[]) => {
    const block = targetTree(all, true).filter(isBlock)[number]!;
    return modulesOfLayer(all, block);
  };

  it("on a kind of module takes it in all layers, or leaves it out", () => {
    expect(press({ target_modules: ["q_proj"] }, kind("k_proj"))).toEqual(["q_proj", "k_proj"]);
    expect(press({ target_modules: ".*(q|k)_proj" }, kind("k_proj"))).toEqual(["q_proj"]);
    expect(press({ target_modules: "all-linear" }, kind("lm_head"))).toContain("lm_head");
  });

  it("on a kind that is adapted in some layers takes it in all", () => {
    const some = { target_modules: ["q_proj", "3.self_attn.k_proj"] };
    expect(pickState(kind("k_proj")(previewed(some)))).toBe("some");
    expect(press(some, kind("k_proj"))).toEqual(["q_proj", "k_proj"]);
  });

  it("on a layer takes there what other layers have, or leaves the layer out", () => {
    const lora = { target_modules: ["q_proj", "v_proj"], layers_to_transform: [0, 1] };
    expect(press(lora, layer(5))).toEqual([
      ["q_proj", "v_proj"],
      [0, 1, 5],
    ]);
    expect(press(lora, layer(1))).toEqual([["q_proj", "v_proj"], [0]]);
    expect(press({ target_modules: ["lm_head"] }, layer(2))).toEqual([
      ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"],
      [2],
    ]);
  });

  it("on what is excluded does nothing", () => {
    const lora = { target_modules: ["q_proj"], exclude_modules: ["k_proj"] };
    expect(pickState(kind("k_proj")(previewed(lora)))).toBe("none");
    expect(press(lora, kind("k_proj"))).toEqual(["q_proj"]);
  });
});
