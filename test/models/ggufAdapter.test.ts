/** GGUF adapters against the files that llama.cpp was shown to take rightly (reference/verify_gguf.py). */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { StoredTensor } from "../../src/base/bytes.ts";
import { FormatError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { toFloat32OfGgml } from "../../src/formats/ggml.ts";
import { type GgufFile, openGguf } from "../../src/formats/gguf.ts";
import { writeGguf } from "../../src/formats/gguf-writer.ts";
import { openSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";
import { ggufAdapter, refuseUnheld } from "../../src/lora/exportGguf.ts";
import { type AdapterFiles, readAdapter } from "../../src/lora/readAdapter.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { ggufNames } from "../../src/models/ggufNames.ts";
import { bytesOf } from "../harness/streams.ts";

const FOLDER = new URL("../lora/fixtures/gguf/", import.meta.url);
const BASES = new URL("../../reference/dumps/bases/", import.meta.url);
const CASES = readdirSync(FOLDER).sort();
const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

const bytesIn = (name: string, file: string) =>
  new Uint8Array(readFileSync(new URL(`${name}/${file}`, FOLDER)));
const jsonIn = (name: string, file: string) =>
  JSON.parse(readFileSync(new URL(`${name}/${file}`, FOLDER), "utf8")) as JsonObject;
const baseOf = (name: string) => jsonIn(name, "case.json").base as string;

function namesOf(base: string, changes: JsonObject = {}) {
  const config = JSON.parse(readFileSync(new URL(`${base}/config.json`, BASES), "utf8")) as JsonObject;
  return ggufNames(parseModelConfig({ ...config, ...changes }));
}

/** A fixture's adapter, with some of its config or of its tensors replaced. */
async function adapterOf(
  name: string,
  changes: JsonObject = {},
  edit: (tensors: Map<string, StoredTensor>) => void = () => {},
): Promise<AdapterFiles> {
  const config = new TextEncoder().encode(JSON.stringify({ ...jsonIn(name, CONFIG), ...changes }));
  const files = new Map([
    [CONFIG, arraySource(config, CONFIG)],
    [WEIGHTS, arraySource(bytesIn(name, WEIGHTS), WEIGHTS)],
  ]);
  const adapter = await readAdapter(mapFileSet("adapter", files));
  const tensors = new Map(adapter.tensors);
  edit(tensors);
  return { ...adapter, tensors };
}

async function exported(adapter: AdapterFiles, names = namesOf("llama")): Promise<Uint8Array> {
  const { metadata, tensors } = ggufAdapter(adapter, names);
  return bytesOf(writeGguf("adapter.gguf", metadata, tensors));
}

const reopened = async (adapter: AdapterFiles) =>
  openGguf(arraySource(await exported(adapter), "adapter.gguf"));

async function valuesOf(file: GgufFile, name: string): Promise<Float32Array> {
  const tensor = file.tensors.get(name)!;
  return toFloat32OfGgml(await tensor.read(), tensor.type);
}

/** A tensor as a safetensors file would hold it. */
async function stored(name: string, shape: number[], values: Float32Array): Promise<StoredTensor> {
  const bytes = new Uint8Array(values.buffer);
  const file = writeSafetensors([{ name, dtype: "F32", shape, bytes }]);
  return (await openSafetensors(arraySource(file, name))).tensors.get(name)!;
}

const Q0 = "base_model.model.model.layers.0.self_attn.q_proj";
const [A0, B0] = [`${Q0}.lora_A.weight`, `${Q0}.lora_B.weight`];

describe("a GGUF adapter", () => {
  it.each(CASES)("has the bytes that llama.cpp agrees with PEFT on: %s", async (name) => {
    const bytes = await exported(await adapterOf(name), namesOf(baseOf(name)));
    const wanted = await openGguf(arraySource(bytesIn(name, "expected.gguf"), "expected.gguf"));
    const found = await openGguf(arraySource(bytes, "adapter.gguf"));
    expect([...found.metadata]).toEqual([...wanted.metadata]);
    expect([...found.tensors.values()].map(({ name, shape }) => [name, shape])).toEqual(
      [...wanted.tensors.values()].map(({ name, shape }) => [name, shape]),
    );
    for (const name of wanted.tensors.keys()) {
      expect(await valuesOf(found, name), name).toEqual(await valuesOf(wanted, name));
    }
    expect(bytes).toEqual(bytesIn(name, "expected.gguf"));
  });

  it("says what it is, with the architecture of the base", async () => {
    const bytes = await exported(await adapterOf("mistral"), namesOf("mistral"));
    const { metadata } = await openGguf(arraySource(bytes, "adapter.gguf"));
    expect(Object.fromEntries([...metadata].map(([key, { value }]) => [key, value]))).toEqual({
      "general.architecture": "llama",
      "general.type": "adapter",
      "adapter.type": "lora",
      "adapter.lora.alpha": 5,
    });
  });

  it("moves the rows of B for q and k of llama's kind alone, head by head", async () => {
    // Four query heads of eight rows each; a row of B holds its own number.
    const rows = Float32Array.from({ length: 32 }, (_, i) => i);
    const b = await stored(B0, [32, 1], rows);
    const a = await stored(A0, [1, 32], new Float32Array(32));
    const alone = (tensors: Map<string, StoredTensor>) => {
      tensors.clear();
      tensors.set(A0, a).set(B0, b);
    };
    const adapter = await adapterOf("llama", {}, alone);
    const moved = await valuesOf(await reopened(adapter), "blk.0.attn_q.weight.lora_b");
    expect([...moved.subarray(0, 16)]).toEqual([0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
    const bytes = await exported(adapter, namesOf("llama", { model_type: "qwen2" }));
    const left = await openGguf(arraySource(bytes, "qwen2.gguf"));
    expect(await valuesOf(left, "blk.0.attn_q.weight.lora_b")).toEqual(rows);
  });

  it("has the alpha of most modules, and folds another's into its B", async () => {
    const adapter = await adapterOf("llama", { alpha_pattern: { "0.self_attn.v_proj": 14 } });
    const file = await reopened(adapter);
    expect(file.metadata.get("adapter.lora.alpha")?.value).toBe(7);
    const key = "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight";
    const given = new Float32Array(new Uint8Array(await adapter.tensors.get(key)!.read()).buffer);
    expect(await valuesOf(file, "blk.0.attn_v.weight.lora_b")).toEqual(given.map((value) => 2 * value));
  });

  it("has an alpha below 0 without its sign, and the sign in B", async () => {
    const adapter = await adapterOf("llama", { lora_alpha: -7 });
    const file = await reopened(adapter);
    expect(file.metadata.get("adapter.lora.alpha")?.value).toBe(7);
    const key = "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight";
    const given = new Float32Array(new Uint8Array(await adapter.tensors.get(key)!.read()).buffer);
    expect(await valuesOf(file, "blk.0.attn_v.weight.lora_b")).toEqual(given.map((value) => -value));
  });

  it.each([
    "base_model.model.lm_head.base_layer.weight",
    "base_model.model.lm_head.weight",
    "base_model.model.model.embed_tokens.weight",
  ])("leaves out what PEFT copies of the base: %s", async (copy) => {
    const tensor = await stored(copy, [180, 32], new Float32Array(180 * 32));
    const adapter = await adapterOf("llama_head", {}, (tensors) => tensors.set(copy, tensor));
    expect((await reopened(adapter)).tensors.size).toBe(6);
  });
});

describe("what a GGUF adapter has no place for is refused by name, with what to use instead:", () => {
  it.each<[string, JsonObject, RegExp]>([
    ["DoRA", { use_dora: true }, /use_dora true.*DoRA's magnitudes/],
    ["biases", { bias: "lora_only" }, /bias "lora_only".*trained biases/],
    ["a bias of B", { lora_bias: true }, /lora_bias true.*bias of B/],
    ["whole modules", { modules_to_save: ["lm_head"] }, /\["lm_head"\].*modules trained whole/],
    ["token indices", { trainable_token_indices: [1] }, /single tokens/],
    ["parameters", { target_parameters: ["w"] }, /adapted parameters/],
    ["repeated layers", { layer_replication: [[0, 2]] }, /repeated layers/],
    ["a changed base", { init_lora_weights: "pissa" }, /"pissa".*changes the base's weights/],
  ])("%s", (_, changes, says) => {
    const config = { ...jsonIn("llama", CONFIG), ...changes };
    expect(() => refuseUnheld(config, "adapter")).toThrow(says);
    expect(() => refuseUnheld(config, "adapter")).toThrow(/\(merged-gguf\)/);
  });

  it("and nothing of what PEFT writes for plain LoRA", () => {
    for (const name of CASES) refuseUnheld(jsonIn(name, CONFIG), name);
    refuseUnheld({}, "an empty config");
  });

  it.each([
    [`${Q0}.lora_magnitude_vector`, /a magnitude of DoRA/],
    [`${Q0}.lora_B.bias`, /a bias of B/],
    [`${Q0}.base_layer.bias`, /a trained bias/],
    ["base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", /single tokens/],
    ["base_model.model.model.norm.weight", /trained whole/],
  ])("the tensor %s", async (key, says) => {
    const tensor = await stored(key, [1], new Float32Array(1));
    const adapter = await adapterOf("llama", {}, (tensors) => tensors.set(key, tensor));
    expect(() => ggufAdapter(adapter, namesOf("llama"))).toThrow(says);
  });

  it.each([["llama_head"], ["llama_embedding"]])("a tied head or its embedding: %s", async (name) => {
    const names = namesOf("llama", { tie_word_embeddings: true });
    const adapter = await adapterOf(name);
    expect(() => ggufAdapter(adapter, names)).toThrow(/head of this model is its embedding/);
  });
});

describe("a GGUF adapter is not made", () => {
  it.each<[string, (tensors: Map<string, StoredTensor>) => void, RegExp]>([
    ["of half a pair", (tensors) => tensors.delete(B0), /without its other half/],
    ["of the other half", (tensors) => tensors.delete(A0), /without its other half/],
    ["of nothing", (tensors) => tensors.clear(), /holds no pair/],
    [
      "of halves that do not fit",
      (tensors) => tensors.set(A0, tensors.get(B0)!),
      /are \[32,3\] and \[32,3\], expected \[r,32\]/,
    ],
    [
      "of a module that the base lacks",
      (tensors) => {
        for (const half of ["lora_A", "lora_B"]) {
          const key = `${Q0}.${half}.weight`;
          tensors.set(key.replace("layers.0", "layers.7"), tensors.get(key)!);
        }
      },
      /layers\.7.*no such weight of llama models/,
    ],
  ])("%s", async (_, edit, says) => {
    const adapter = await adapterOf("llama", {}, edit);
    expect(() => ggufAdapter(adapter, namesOf("llama"))).toThrow(says);
  });

  it("with an alpha that f32 rounds to 0, which llama.cpp would take for none", async () => {
    const adapter = await adapterOf("llama", { lora_alpha: 1e-50 });
    expect(() => ggufAdapter(adapter, namesOf("llama"))).toThrow(/alpha of 1e-50, which f32 holds as 0/);
  });

  it("of NaN, nor where folding an alpha leaves f32", async () => {
    const nan = await stored(B0, [32, 3], new Float32Array(96).fill(Number.NaN));
    await expect(exported(await adapterOf("llama", {}, (all) => all.set(B0, nan)))).rejects.toThrow(
      /lora_B.weight holds NaN at index 0/,
    );
    const huge = await adapterOf("llama", { alpha_pattern: { "0.self_attn.q_proj": 1e300 } });
    await expect(exported(huge)).rejects.toThrow(FormatError);
  });
});
