import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { previewTargets } from "../../src/lora/preview.ts";
import { effectOf, type Folds, type GridRow, gridRows, placeOf, rowWords } from "../../src/ui/targetRows.ts";
import { targetTree } from "../../src/ui/targetTree.ts";
import { MODELS } from "../lora/fixtures.ts";

function rowsOf(lora: JsonObject, { folds, isApart = false }: { folds?: Folds; isApart?: boolean } = {}) {
  const { modules } = previewTargets(MODELS.llama, lora, {
    ...{ modelType: "llama", origin: "run", path: "lora" },
  });
  return gridRows(targetTree(modules, isApart), folds);
}
const outline = (rows: readonly GridRow[]) => rows.map(({ level, label }) => `${level} ${label}`);
const LAYER = [
  ...["2 self_attn", "3 q_proj", "3 k_proj", "3 v_proj", "3 o_proj"],
  ...["2 mlp", "3 gate_proj", "3 up_proj", "3 down_proj"],
  ...["2 input_layernorm", "2 post_attention_layernorm"],
];

describe("the rows of the tree", () => {
  it("show the modules of the first layers, and of others once they are unfolded", () => {
    const lora = { target_modules: ["q_proj"], layers_to_transform: [0, 1] };
    const rows = rowsOf(lora);
    expect(outline(rows)).toEqual([
      ...["1 model.embed_tokens", "1 layers 0–1", ...LAYER, "1 layers 2–11", "1 model.norm", "1 lm_head"],
    ]);
    const id = (label: string) => rows.find((row) => row.label === label)!.id;
    const folds = new Map([
      ...([[id("layers 0–1"), true]] as const),
      ...([[id("layers 2–11"), false]] as const),
    ]);
    expect(outline(rowsOf(lora, { folds }))).toEqual([
      ...["1 model.embed_tokens", "1 layers 0–1", "1 layers 2–11", ...LAYER, "1 model.norm", "1 lm_head"],
    ]);
    const inside = rowsOf(lora, { folds: new Map([[id("self_attn"), true]]) });
    expect(outline(inside).slice(2, 4)).toEqual(["2 self_attn", "2 mlp"]);
  });

  it("say in one line what they are", () => {
    const words = (lora: JsonObject, folds?: Folds) =>
      rowsOf(lora, { folds: folds ?? new Map() }).map((row) => rowWords(row).replaceAll("\u00a0", " "));
    const found = words({ r: 4, target_modules: ["q_proj"] });
    expect(found[1]).toMatch(/^layers 0–11, partly adapted, [\d,]+ values, [\d.]+ [KM]iB$/);
    expect(found[3]).toMatch(/^self_attn\.q_proj in layers 0–11, adapted, r 4, α 8, [\d,]+ values, /);
    expect(found[4]).toMatch(/^self_attn\.k_proj in layers 0–11, not adapted, \+[\d,]+ values, \+/);
    expect(found.at(-2)).toBe("model.norm");
  });

  it("are found again when layers part and come together", () => {
    const [together, apart] = [rowsOf({}), rowsOf({}, { isApart: true })];
    const labels = (rows: readonly GridRow[], at: number) => rows[at]!.label;
    const third = apart.find(({ label }) => label === "layer 3")!;
    expect(labels(together, placeOf(together, third.id))).toBe("layers 0–11");
    const key = together.find(({ label }) => label === "k_proj")!;
    expect(apart[placeOf(apart, key.id)]!.fullName).toBe("self_attn.k_proj in layer 0");
    // Its group is folded now: the group takes its place.
    const group = together.find(({ label }) => label === "self_attn")!;
    const folded = rowsOf({}, { folds: new Map([[group.id, true]]) });
    expect(labels(folded, placeOf(folded, key.id))).toBe("self_attn");
    expect(placeOf(together, "")).toBe(0);
  });
});

describe("a key", () => {
  const rows = rowsOf({});
  const press = (label: string, key: string) => {
    const at = rows.findIndex((row) => row.label === label);
    const effect = effectOf(key, rows, at);
    if (!effect) return undefined;
    const id = "fold" in effect ? effect.fold : effect.goTo;
    return `${"fold" in effect ? "folds" : "goes to"} ${rows.find((row) => row.id === id)!.label}`;
  };

  it.each([
    ["model.embed_tokens", "ArrowDown", "goes to layers 0–11"],
    ["model.embed_tokens", "ArrowUp", undefined],
    ["model.embed_tokens", "ArrowLeft", undefined],
    ["lm_head", "ArrowDown", undefined],
    ["lm_head", "Home", "goes to model.embed_tokens"],
    ["self_attn", "End", "goes to lm_head"],
    ["self_attn", "ArrowRight", "goes to q_proj"],
    ["self_attn", "ArrowLeft", "folds self_attn"],
    ["self_attn", "Enter", "folds self_attn"],
    ["q_proj", "ArrowRight", undefined],
    ["q_proj", "Enter", undefined],
    ["down_proj", "ArrowLeft", "goes to mlp"],
    ["input_layernorm", "ArrowLeft", "goes to layers 0–11"],
    ["q_proj", "a", undefined],
  ])("in %s: %s %s", (label, key, effect) => {
    expect(press(label, key)).toBe(effect);
  });
});
