import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { encodeBf16, toFloat32 } from "../../src/formats/floats.ts";
import { openSafetensors, type TensorToWrite, writeSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { parseLoraConfig } from "../../src/lora/config.ts";
import { exportConfig, reexportConfig } from "../../src/lora/exportConfig.ts";
import { loadAdapter, readAdapter } from "../../src/lora/readAdapter.ts";
import { selectModules } from "../../src/lora/targets.ts";
import { writeAdapter } from "../../src/lora/writeAdapter.ts";
import { ADAPTER_NAMES, type AdapterCase, adapterCase, fileSet } from "./fixtures.ts";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const Q0 = "base_model.model.model.layers.0.self_attn.q_proj";
const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

async function load(one: AdapterCase) {
  const files = await readAdapter(fileSet(one.files));
  const base = await openSafetensors(arraySource(one.files.get("base.safetensors")!, "base.safetensors"));
  return {
    files,
    ...(await loadAdapter(files, one.modules, one.model_type, (name) => base.tensors.get(name))),
  };
}

describe("an adapter that PEFT wrote", () => {
  it.each(ADAPTER_NAMES)("comes out again byte by byte: %s", async (name) => {
    const one = adapterCase(name);
    const loaded = await load(one);
    const config = reexportConfig(loaded.files.given);
    const written = await writeAdapter(config, loaded.selection, (key) => loaded.values.get(key)!, loaded);
    expect(text(written.get(CONFIG))).toBe(text(one.files.get(CONFIG)));
    expect(written.get(WEIGHTS)).toEqual(one.files.get(WEIGHTS));
  });

  it.each(ADAPTER_NAMES)("is what a new run with its config would write: %s", async (name) => {
    const one = adapterCase(name);
    const loaded = await load(one);
    const { config } = parseLoraConfig(one.config);
    const selection = selectModules(one.modules, config, {
      modelType: one.model_type,
      origin: "run",
      path: "lora",
    });
    expect(selection.lora).toEqual(loaded.selection.lora);
    const exported = exportConfig(selection, config, null);
    const written = await writeAdapter(exported, selection, (key) => loaded.values.get(key)!, loaded);
    expect(written.get(WEIGHTS)).toEqual(one.files.get(WEIGHTS));
    // PEFT holds targets in a set and saves them in no fixed order; all else must be the same text.
    const inOrder = (json: string) =>
      json.replace(/("target_modules": \[)([^\]]*)/, (_, open: string, list: string) => {
        return open + (list.match(/"[^"]*"/g) ?? []).sort().join();
      });
    expect(inOrder(text(written.get(CONFIG)))).toBe(inOrder(text(one.files.get(CONFIG))));
  });

  // PEFT reads what a model's whole state has for names, too.
  it.each(["llama_patterns", "llama_dora", "llama_embedding", "gpt2_bias"])(
    "is read with its name in the keys: %s",
    async (name) => {
      const one = adapterCase(name);
      const named = (key: string) =>
        key
          .replace(/(lora_[AB])\.(weight|bias)$/, "$1.default.$2")
          .replace(/(lora_embedding_[AB])$/, "$1.default")
          .replace(/(lora_magnitude_vector)$/, "$1.default.weight");
      const other = await edited(one, (all) => all.map((t) => ({ ...t, name: named(t.name) })));
      expect(other.files.get(WEIGHTS)).not.toEqual(one.files.get(WEIGHTS));
      const loaded = await load(other);
      const write = writeAdapter(
        reexportConfig(loaded.files.given),
        loaded.selection,
        (key) => loaded.values.get(key)!,
        loaded,
      );
      expect((await write).get(WEIGHTS)).toEqual(one.files.get(WEIGHTS));
    },
  );

  it.each(["llama", "gpt2", "gpt2_whole_embeddings"])("may be as old as PEFT 0.2: %s", async (name) => {
    const one = adapterCase(name);
    const known = "bias fan_in_fan_out lora_alpha modules_to_save peft_type r target_modules".split(" ");
    const given = Object.entries((await load(one)).files.given).filter(([key]) => known.includes(key));
    const old = { ...Object.fromEntries(given), enable_lora: null, merge_weights: false };
    const { selection } = await load(withFile(one, CONFIG, JSON.stringify(old)));
    expect(selection).toEqual((await load(one)).selection);
  });

  it("may have null where PEFT takes it for false", async () => {
    const keys = ["use_rslora", "use_dora", "lora_bias", "fan_in_fan_out", "init_lora_weights"];
    const nulls = Object.fromEntries(keys.map((key) => [key, null]));
    const { selection } = await load(withConfig(adapterCase("llama"), nulls));
    expect(selection.lora).toEqual((await load(adapterCase("llama"))).selection.lora);
  });

  // PEFT 0.21 opens none with null for its patterns.
  it("may have null where PEFT wants an object, and comes out with that", async () => {
    const one = adapterCase("llama");
    const nulls = { rank_pattern: null, alpha_pattern: null, loftq_config: null };
    const { files } = await load(withConfig(one, nulls));
    expect(reexportConfig(files.given)).toEqual(JSON.parse(text(one.files.get(CONFIG))));
  });

  it("keeps keys that nobody knows, and says so", async () => {
    const one = withConfig(adapterCase("llama"), { from_the_future: { a: [1] } });
    const { files, warnings } = await load(one);
    expect(warnings.join()).toContain('unknown key "from_the_future": kept, not used');
    expect(reexportConfig(files.given).from_the_future).toEqual({ a: [1] });
  });

  it("warns where a listed target matches nothing, as PEFT opens it", async () => {
    const { warnings } = await load(withConfig(adapterCase("llama"), { target_modules: ["q_proj", "qq"] }));
    expect(warnings.join()).toContain('target_modules: "qq" matches no module');
  });

  it("may be stored in bf16", async () => {
    const one = adapterCase("llama");
    const wanted = (await load(one)).values.get(`${Q0}.lora_A.weight`)!;
    const { values } = await load(await edited(one, (tensors) => tensors.map(asBf16)));
    const found = values.get(`${Q0}.lora_A.weight`)!;
    expect(found.every((value, i) => Math.abs(value - wanted[i]!) <= 2 ** -8 * Math.abs(wanted[i]!))).toBe(
      true,
    );
    expect(found.some((value, i) => value !== wanted[i])).toBe(true);
  });

  it.each(["llama_bf16", "gpt2_f16"])("stays in halves until something trains: %s", async (name) => {
    const { files, selection, values, ...kept } = await load(adapterCase(name));
    const first = [...values.values()][0]!;
    first[3]! += 2 ** -20;
    const written = await writeAdapter(
      reexportConfig(files.given),
      selection,
      (key) => values.get(key)!,
      kept,
    );
    const { tensors } = await openSafetensors(arraySource(written.get(WEIGHTS)!, WEIGHTS));
    expect(new Set([...tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["F32"]));
    const stored = [...tensors.values()].find(({ name }) => name === [...values.keys()][0])!;
    expect(toFloat32(await stored.read(), "F32")).toEqual(first);
  });

  it("keeps the copies of embedding and head that PEFT writes with save_embedding_layers", async () => {
    const one = adapterCase("llama_tables");
    const { kept, selection } = await load(one);
    const keys = ["base_model.model.lm_head.weight", "base_model.model.model.embed_tokens.weight"];
    expect(kept.map(({ name }) => name).sort()).toEqual(keys);
    expect(selection.whole).toEqual([]);
    const trained = await edited(one, (all) => all.map((t) => (t.name === keys[1] ? scaled(t, 1.1) : t)));
    await expect(load(trained)).rejects.toThrow(
      /embed_tokens\.weight holds .* of the base model .* in the base's place/,
    );
  });

  it.each([
    {
      what: "a head that trains whole",
      name: "qwen3_whole_tied",
      table: "lm_head.weight",
      copy: "lm_head.original_module.weight",
      twice: ["lm_head.weight", "lm_head.modules_to_save.weight"],
    },
    {
      what: "tokens' rows that train",
      name: "qwen3_tokens",
      table: "lm_head.weight",
      copy: "lm_head.base_layer.token_adapter.base_layer.weight",
      twice: [
        "model.embed_tokens.token_adapter.trainable_tokens_delta",
        "lm_head.base_layer.token_adapter.trainable_tokens_delta",
      ],
    },
    {
      what: "an embedding's magnitudes",
      name: "llama_dora_embedding",
      table: "model.embed_tokens.weight",
      copy: "model.embed_tokens.base_layer.weight",
      twice: ["model.embed_tokens.lora_magnitude_vector", "model.embed_tokens.lora_magnitude_vector.weight"],
    },
  ])(
    "takes all that PEFT writes with save_embedding_layers of $what",
    async ({ name, table, copy, twice }) => {
      const one = adapterCase(name);
      const prefix = "base_model.model.";
      const base = await openSafetensors(arraySource(one.files.get("base.safetensors")!, "base.safetensors"));
      const stored = base.tensors.get(table)!;
      const added = { ...stored, name: prefix + copy, bytes: await stored.read() };
      const [trained, again] = twice.map((key) => prefix + key);
      const saved = await edited(one, (all) => {
        const own = all.find((tensor) => tensor.name === trained)!;
        return [...all.filter((tensor) => tensor.name !== added.name), added, { ...own, name: again! }];
      });
      const [{ values }, { values: wanted, kept }] = [await load(saved), await load(one)];
      expect(values).toEqual(wanted);
      expect((await load(saved)).kept.map((tensor) => tensor.name)).toEqual(
        [...new Set([...kept.map((tensor) => tensor.name), added.name])].sort(),
      );
      const other = await edited(saved, (all) =>
        all.map((tensor) => (tensor.name === added.name ? scaled(tensor, 1.1) : tensor)),
      );
      await expect(load(other)).rejects.toThrow(`${table} of the base model`);
      const elsewhere = `${prefix}model.norm.modules_to_save.weight`;
      const stray = await edited(saved, (all) =>
        all.map((tensor) => (tensor.name === again ? { ...tensor, name: elsewhere } : tensor)),
      );
      await expect(load(stray)).rejects.toThrow(/which belongs to no module/);
    },
  );

  it("lies in a folder of its own where it is not called default", async () => {
    const files = new Map([["README.md", new Uint8Array()]]);
    await expect(readAdapter(fileSet(files))).rejects.toThrow(
      /no adapter_config.json.*in one of its own name there/,
    );
  });

  it("keeps the copy of the head that PEFT writes beside an adapted head", async () => {
    const { kept } = await load(adapterCase("llama_head"));
    expect(kept.map(({ name }) => name)).toEqual(["base_model.model.lm_head.base_layer.weight"]);
  });

  it("keeps the copy of the table that PEFT writes beside an adapted embedding", async () => {
    const { kept } = await load(adapterCase("llama_embedding"));
    expect(kept.map(({ name }) => name)).toEqual(["base_model.model.model.embed_tokens.base_layer.weight"]);
  });

  it("may hold what olora has left of the head, which is computed again", async () => {
    const less = await edited(adapterCase("llama_head"), (all) =>
      all.map((tensor) => (tensor.name.endsWith("base_layer.weight") ? scaled(tensor, 0.9) : tensor)),
    );
    await expect(load(less)).rejects.toThrow("in the base's place");
    const { kept, selection } = await load(withConfig(less, { init_lora_weights: "olora" }));
    expect(kept).toEqual([]);
    expect(selection.lora.map(({ fromBase }) => fromBase)).toContain("olora");
  });

  it("may hold that copy rounded to bf16, with a warning, but no other weights", async () => {
    const one = adapterCase("llama_head");
    const isCopy = (tensor: TensorToWrite) => tensor.name.endsWith("base_layer.weight");
    const rounded = await edited(one, (all) =>
      all.map((tensor) => (isCopy(tensor) ? asBf16(tensor) : tensor)),
    );
    expect((await load(rounded)).warnings.join()).toContain("only after rounding");
    const other = await edited(one, (all) =>
      all.map((tensor) => (isCopy(tensor) ? scaled(tensor, 1.1) : tensor)),
    );
    await expect(load(other)).rejects.toMatchObject({ code: "other-base" });
    const longer = await edited(one, (all) =>
      all.map((tensor) => (isCopy(tensor) ? { ...tensor, shape: [...tensor.shape].reverse() } : tensor)),
    );
    await expect(load(longer)).rejects.toMatchObject({ code: "shape-mismatch" });
  });
});

describe("an adapter is refused", () => {
  const drop = (key: string) => (tensors: TensorToWrite[]) => tensors.filter(({ name }) => name !== key);

  it.each<[string, (one: AdapterCase) => AdapterCase | Promise<AdapterCase>, string, RegExp]>([
    [
      "when A has no B",
      (one) => edited(one, drop(`${Q0}.lora_B.weight`)),
      "half-missing",
      /holds ".*layers\.0.*lora_A\.weight" without its other half/,
    ],
    [
      "when an embedding's A has no B",
      async () =>
        edited(adapterCase("llama_embedding"), (all) =>
          all.filter(({ name }) => !name.endsWith("lora_embedding_B")),
        ),
      "half-missing",
      /embed_tokens\.lora_embedding_A" without its other half/,
    ],
    [
      "when what is tied differs",
      async () =>
        edited(adapterCase("qwen3_whole_tied"), (all) =>
          all.map((tensor) => (tensor.name.endsWith("lm_head.weight") ? scaled(tensor, 2) : tensor)),
        ),
      "tied-differ",
      /lm_head\.weight holds .* and base_model\.model\.model\.embed_tokens\.weight, to which .* ties it/,
    ],
    [
      "when tied factors differ",
      async () =>
        edited(adapterCase("qwen3_lora_tied"), (all) =>
          all.map((tensor) => (tensor.name.endsWith("lm_head.lora_B.weight") ? scaled(tensor, 2) : tensor)),
        ),
      "tied-differ",
      /lm_head\.lora_B\.weight holds .* and .*lora_embedding_A/,
    ],
    ["when B has no A", (one) => edited(one, drop(`${Q0}.lora_A.weight`)), "half-missing", /lora_B/],
    [
      "when a pair is missing",
      (one) => edited(one, (all) => all.filter(({ name }) => !name.startsWith(Q0))),
      "tensor-missing",
      /lacks .*q_proj\.lora_A\.weight/,
    ],
    [
      "when the rank is another",
      (one) => withConfig(one, { r: 3 }),
      "rank-mismatch",
      /is \[2,8\], expected \[3,8\]/,
    ],
    [
      "when the base model is another",
      (one) => ({
        ...one,
        modules: one.modules.map((module) =>
          module.kind === "linear" ? { ...module, inFeatures: 16 } : module,
        ),
      }),
      "shape-mismatch",
      /is \[2,8\], expected \[2,16\] to fit the base model.*Was the adapter trained on another model/,
    ],
    [
      "with NaN",
      (one) => edited(one, (all) => all.map((t) => scaled(t, Number.NaN))),
      "not-finite",
      /holds NaN at index 0/,
    ],
    [
      "with Inf",
      (one) => edited(one, (all) => all.map((t) => scaled(t, 1e39))),
      "not-finite",
      /holds -?Infinity/,
    ],
    [
      "with an unknown tensor",
      (one) =>
        edited(one, (all) => [
          ...all,
          { ...all[0]!, name: "base_model.model.model.layers.7.q_proj.lora_A.weight" },
        ]),
      "unknown-tensor",
      /layers\.7.*belongs to no module/,
    ],
    [
      "with a tensor under two names",
      (one) => edited(one, (all) => [...all, { ...all[0]!, name: `${Q0}.lora_A.default.weight` }]),
      "unknown-tensor",
      /default/,
    ],
    [
      "with an embedding of another size saved along",
      () =>
        edited(adapterCase("llama_tables"), (all) =>
          all.map((t) =>
            t.name.endsWith("embed_tokens.weight") ? { ...t, shape: [...t.shape].reverse() } : t,
          ),
        ),
      "shape-mismatch",
      /embed_tokens\.weight is \[8,32\], expected \[32,8\].*vocabulary resized/,
    ],
    [
      "with a copy of a base weight that is not adapted",
      (one) =>
        edited(one, (all) => [...all, { ...all[0]!, name: "base_model.model.lm_head.base_layer.weight" }]),
      "unknown-tensor",
      /lm_head/,
    ],
    [
      "with integer weights",
      (one) => edited(one, (all) => all.map((t) => ({ ...t, dtype: "I32" as const }))),
      "not-float",
      /I32/,
    ],
    [
      "that asks for DoRA and has no magnitudes",
      (one) => withConfig(one, { use_dora: true }),
      "tensor-missing",
      /lacks .*q_proj\.lora_magnitude_vector/,
    ],
    [
      "that has magnitudes without asking for DoRA",
      () => withConfig(adapterCase("llama_dora"), { use_dora: false }),
      "unknown-tensor",
      /lora_magnitude_vector/,
    ],
    [
      "when a bias that trains is missing",
      (one) => withConfig(one, { lora_bias: true }),
      "tensor-missing",
      /lacks .*q_proj\.lora_B\.bias/,
    ],
    [
      "that began as CorDA",
      (one) => withConfig(one, { init_lora_weights: "corda" }),
      "start-unknown",
      /init_lora_weights is "corda".*path_initial_model_for_weight_conversion/,
    ],
    [
      "that began as LoftQ",
      (one) => withConfig(one, { init_lora_weights: "loftq" }),
      "start-unknown",
      /init_lora_weights is "loftq".*Merge it in PEFT/,
    ],
    [
      "of another variant of LoRA",
      (one) => withConfig(one, { use_qalora: true }),
      "not-supported",
      /use_qalora is true: .*would compute something else: merge it in PEFT/,
    ],
    [
      "with what training tools put around modules",
      (one) =>
        edited(one, (all) =>
          all.map((t) => ({ ...t, name: t.name.replace("layers.0.", "layers.0._fsdp_wrapped_module.") })),
        ),
      "tensor-missing",
      /lacks .*layers\.0\.self_attn.* asks for; it holds .*_fsdp_wrapped_module.* other names than save_pretrained/,
    ],
    [
      "that began as a random approximation of the base",
      (one) => withConfig(one, { init_lora_weights: "pissa_niter_4" }),
      "start-unknown",
      /"pissa_niter_4".*that start is random.*path_initial_model_for_weight_conversion/,
    ],
    ["of another method", (one) => withConfig(one, { peft_type: "IA3" }), "not-lora", /peft_type is "IA3"/],
    ["without a method", (one) => withConfig(one, { peft_type: undefined }), "not-lora", /peft_type/],
    [
      "that matches no module",
      (one) => withConfig(one, { target_modules: ["qq"] }),
      "no-module-matched",
      /"qq"/,
    ],
    [
      "with rank 0",
      (one) => withConfig(one, { r: 0 }),
      "bad-value",
      /adapter_config\.json\.r is 0, expected an integer of at least 1/,
    ],
    [
      "with a rank below 0 for one module",
      (one) => withConfig(one, { rank_pattern: { q_proj: -1 } }),
      "bad-value",
      /rank_pattern\.q_proj is -1, expected/,
    ],
    [
      "with a list of layers without its layers",
      (one) => withConfig(one, { layers_pattern: "layers" }),
      "bad-combination",
      /layers_pattern is "layers", but layers_to_transform is absent.*Say which layers/,
    ],
    [
      "with a pattern that RE2 cannot match as Python does",
      (one) => withConfig(one, { target_modules: "(?=q)q_proj" }),
      "bad-pattern",
      /target_modules: the pattern .* a lookahead/,
    ],
    [
      "with a config of megabytes",
      (one) => withConfig(one, { revision: "x".repeat(2e6) }),
      "json-too-large",
      /adapter_config\.json has 200\d* bytes, 2000000 are allowed/,
    ],
    [
      "with a config nested without end",
      (one) => withFile(one, CONFIG, `{"auto_mapping":${"[".repeat(1e5)}`),
      "json-depth",
      /adapter_config\.json nests lists and objects deeper than 64/,
    ],
    ["with a config that is no JSON", (one) => withFile(one, CONFIG, "{"), "json", /is not JSON/],
    ["with a config that is a list", (one) => withFile(one, CONFIG, "[]"), "json", /adapter_config\.json/],
    [
      "without a config",
      (one) => withFile(one, CONFIG, undefined),
      "no-adapter-config",
      /holds no adapter_config\.json/,
    ],
    [
      "without weights",
      (one) => withFile(one, WEIGHTS, undefined),
      "no-adapter-weights",
      /holds no adapter_model/,
    ],
    [
      "that is a pickle",
      (one) => withFile(withFile(one, WEIGHTS, undefined), "adapter_model.bin", "x"),
      "pickle",
      /runs whatever code is in it.*save it again/,
    ],
    [
      "that is mlx-lm's own",
      (one) => withFile(withFile(one, WEIGHTS, undefined), "adapters.safetensors", "x"),
      "no-adapter-weights",
      /holds no adapter_model.safetensors, but mlx-lm's .*Merge it with mlx_lm\.fuse/,
    ],
    ["with broken weights", (one) => withFile(one, WEIGHTS, "short"), "safetensors-too-short", /5 bytes/],
  ])("%s", async (_, spoil, code, message) => {
    const spoilt = await spoil(adapterCase("llama"));
    await expect(load(spoilt)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      remedy: expect.stringMatching(/\w/),
    });
  });
});

it("refuses to write a tensor of the wrong size", async () => {
  const { files, selection } = await load(adapterCase("llama"));
  const write = writeAdapter(reexportConfig(files.given), selection, () => new Float32Array(3));
  await expect(write).rejects.toMatchObject({ code: "shape-mismatch" });
});

function withFile(one: AdapterCase, name: string, content: string | undefined): AdapterCase {
  const files = new Map(one.files);
  if (content === undefined) files.delete(name);
  else files.set(name, new TextEncoder().encode(content));
  return { ...one, files };
}

function withConfig(one: AdapterCase, changes: Record<string, unknown>): AdapterCase {
  const config = JSON.parse(text(one.files.get(CONFIG))) as JsonObject;
  return withFile(one, CONFIG, JSON.stringify({ ...config, ...changes }));
}

async function edited(
  one: AdapterCase,
  edit: (tensors: TensorToWrite[]) => TensorToWrite[],
): Promise<AdapterCase> {
  const { tensors } = await openSafetensors(arraySource(one.files.get(WEIGHTS)!, WEIGHTS));
  const list: TensorToWrite[] = [];
  for (const tensor of tensors.values())
    list.push({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, bytes: await tensor.read() });
  return { ...one, files: new Map(one.files).set(WEIGHTS, writeSafetensors(edit(list), { format: "pt" })) };
}

function asBf16(tensor: TensorToWrite): TensorToWrite {
  const halves = Uint16Array.from(toFloat32(tensor.bytes, tensor.dtype), encodeBf16);
  return { ...tensor, dtype: "BF16", bytes: new Uint8Array(halves.buffer) };
}

function scaled(tensor: TensorToWrite, factor: number): TensorToWrite {
  const values = toFloat32(tensor.bytes, tensor.dtype).map((value) => value * factor);
  return { ...tensor, bytes: new Uint8Array(values.buffer) };
}
