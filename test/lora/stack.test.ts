/** What adapters at strengths, and several together, make of a base: against their definitions in float64. */

import { expect, it } from "vitest";
import type { StoredTensor } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { openSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { adapterEntries, startKey } from "../../src/lora/adapterKeys.ts";
import { parameterChanges } from "../../src/lora/changes.ts";
import { parseLoraConfig } from "../../src/lora/config.ts";
import { mergedTensors, rowBlocks } from "../../src/lora/merge.ts";
import type { ModuleDescriptor } from "../../src/lora/modules.ts";
import { plainFactors } from "../../src/lora/plainLora.ts";
import { stackAdapters } from "../../src/lora/stack.ts";
import type { Adapter, AdapterPart, BaseParameters } from "../../src/lora/strength.ts";
import { selectModules } from "../../src/lora/targets.ts";
import { uniform } from "../harness/random.ts";

const seed = Number(process.env.GRAFT_SEED ?? Math.floor(Math.random() * 2 ** 32));
const next = uniform(seed);
const random = () => 2 * next() - 1;
const count = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
const numbers = (shape: readonly number[]) => Float32Array.from({ length: count(shape) }, random);

const [IN, OUT] = [7, 5];
const module = (name: string, kind: ModuleDescriptor["kind"], biased: boolean): ModuleDescriptor => {
  const weight = kind === "conv1d" || kind === "embedding" ? [IN, OUT] : [OUT, IN];
  return {
    ...{ name, kind, inFeatures: IN, outFeatures: OUT },
    parameters: { weight, ...(biased ? { bias: [OUT] } : {}) },
  };
};
const table = module("m.embed_tokens", "embedding", false);
const modules = [
  table,
  module("m.layers.0.q", "linear", true),
  module("m.layers.0.k", "linear", true),
  module("m.layers.1.q", "linear", true),
  module("m.layers.1.c", "conv1d", true),
];

async function baseOf(): Promise<BaseParameters & { readonly values: Map<string, Float32Array> }> {
  const values = new Map<string, Float32Array>();
  const stored = modules.flatMap(({ name, parameters }) =>
    Object.entries(parameters).map(([parameter, shape]) => {
      const filled = numbers(shape);
      values.set(`${name}.${parameter}`, filled);
      return {
        ...{ name: `${name}.${parameter}`, dtype: "F32" as const, shape },
        bytes: new Uint8Array(filled.buffer),
      };
    }),
  );
  const { tensors } = await openSafetensors(arraySource(writeSafetensors(stored), "base"));
  const tensor = (name: string, parameter: string): StoredTensor => tensors.get(`${name}.${parameter}`)!;
  const matrix = async (name: string) => {
    const { kind, inFeatures, outFeatures } = modules.find((one) => one.name === name)!;
    const turned = kind === "conv1d" || kind === "embedding";
    return { ...{ name, inFeatures, outFeatures, turned }, values: values.get(`${name}.weight`)! };
  };
  return { values, tensor, matrix };
}

/** A random adapter of these settings. */
function adapterOf(lora: JsonObject): Adapter {
  const { config } = parseLoraConfig(lora);
  const context = { modelType: "llama", origin: "run", path: "lora" } as const;
  const selection = selectModules(modules, config, context);
  const values = new Map(adapterEntries(selection).map(({ key, shape }) => [key, numbers(shape)]));
  for (const { module, r, fromBase } of selection.lora) {
    if (fromBase === null) continue;
    values.set(startKey(module.name, "lora_A"), numbers([r, IN]));
    values.set(startKey(module.name, "lora_B"), numbers([OUT, r]));
  }
  return { selection, values };
}

/** W′ − W of every parameter that an adapter at a strength changes, by definition. */
function changesOf(
  { adapter, strength: s, layersOff, isRestOff }: AdapterPart,
  base: Map<string, Float32Array>,
) {
  const { selection, values } = adapter;
  const changes = new Map<string, Float64Array>();
  const change = (name: string, i: number, by: number): void => {
    if ([...layersOff].some((layer) => name.includes(`.${layer}.`))) return;
    if (isRestOff && !/\.\d+\./.test(name)) return;
    if (!changes.has(name)) changes.set(name, new Float64Array(base.get(name)!.length));
    changes.get(name)![i]! += by;
  };
  const tensorOf = (name: string, ending: RegExp): Float32Array | undefined =>
    [...values].find(([key]) => key.startsWith(`base_model.model.${name}.`) && ending.test(key))?.[1];
  for (const { module, r, scale } of selection.lora) {
    const name = `${module.name}.weight`;
    const w = base.get(name)!;
    const a = tensorOf(module.name, /lora(_embedding)?_A/)!;
    const b = tensorOf(module.name, /lora(_embedding)?_B(\.weight)?$/)!;
    const m = tensorOf(module.name, /magnitude/);
    // What it began as, B's negated, where that is a part of the base.
    const [a0, b0] = [
      values.get(startKey(module.name, "lora_A")),
      values.get(startKey(module.name, "lora_B")),
    ];
    const turned = module.kind === "conv1d" || module.kind === "embedding";
    for (let o = 0; o < OUT; o++) {
      const at = (k: number) => (turned ? k * OUT + o : o * IN + k);
      const before = Array.from({ length: IN }, (_, k) => w[at(k)]!);
      const after = before.map((value, k) => {
        let sum = value;
        for (let j = 0; j < r; j++) {
          sum += s * scale * b[o * r + j]! * a[j * IN + k]!;
          if (a0 && b0) sum += s * scale * b0[o * r + j]! * a0[j * IN + k]!;
        }
        return sum;
      });
      const length = Math.hypot(...before);
      const stretch = m ? (length + s * (m[o]! - length)) / Math.hypot(...after) : 1;
      for (let k = 0; k < IN; k++) change(name, at(k), stretch * after[k]! - before[k]!);
    }
    tensorOf(module.name, /lora_B\.bias/)?.forEach((value, o) => {
      change(`${module.name}.bias`, o, s * scale * value);
    });
  }
  for (const { module, parameter, key } of selection.whole) {
    const name = `${module.name}.${parameter}`;
    values.get(key)!.forEach((value, i) => {
      change(name, i, s * (value - base.get(name)![i]!));
    });
  }
  for (const { module, indices, key } of selection.tokens) {
    const name = `${module.name}.weight`;
    values.get(key)!.forEach((value, i) => {
      const at = indices[Math.floor(i / OUT)]! * OUT + (i % OUT);
      change(name, at, s * (value - base.get(name)![at]!));
    });
  }
  return changes;
}

const q = { target_modules: ["q"], r: 2, lora_alpha: 5 };
const dora = { target_modules: ["q", "c"], r: 3, lora_alpha: 4, use_dora: true };
const all = { target_modules: ["q", "k", "c", "embed_tokens"], r: 1, lora_alpha: 2, use_rslora: true };
const biased = { target_modules: ["k"], r: 2, lora_alpha: 3, lora_bias: true };
const whole = { target_modules: ["k"], modules_to_save: ["0.q", "1.c"], r: 1, lora_alpha: 1 };
const biases = { target_modules: ["q"], r: 1, lora_alpha: 1, bias: "all" };
const tokens = {
  target_modules: ["k"],
  r: 1,
  lora_alpha: 1,
  trainable_token_indices: { embed_tokens: [4, 1] },
};
const others = {
  target_modules: ["k"],
  r: 1,
  lora_alpha: 1,
  trainable_token_indices: { embed_tokens: [1, 6] },
};
const pissa = { target_modules: ["q", "c"], r: 2, lora_alpha: 3, init_lora_weights: "pissa" };
const table_dora = { target_modules: ["embed_tokens"], r: 2, lora_alpha: 3, use_dora: true };

it.each<[string, readonly JsonObject[]]>([
  ["LoRA", [all]],
  ["DoRA", [dora]],
  ["B's bias", [biased]],
  ["whole modules", [whole]],
  ["rows of tokens", [tokens]],
  ["LoRA and LoRA", [q, all]],
  ["three of LoRA", [q, all, q]],
  ["DoRA and LoRA", [dora, all]],
  ["DoRA and DoRA", [dora, dora]],
  ["pissa", [pissa]],
  ["pissa and LoRA", [pissa, all]],
  ["LoRA and pissa", [all, pissa]],
  ["pissa and pissa", [pissa, pissa]],
  ["LoRA and pissa with DoRA", [all, { ...pissa, use_dora: true }]],
  ["pissa with DoRA and LoRA", [{ ...pissa, use_dora: true }, all]],
  ["DoRA and others' modules", [dora, biased]],
  ["whole and LoRA", [whole, all]],
  ["whole and DoRA", [whole, dora]],
  ["whole and whole", [whole, whole]],
  ["biases of all kinds", [biases, biased, whole]],
  ["rows of tokens, of both", [tokens, others]],
  ["rows of tokens and LoRA", [tokens, all]],
  ["rows of tokens and DoRA", [tokens, table_dora, others]],
  ["rows of tokens, once more with nothing outside the layers", [others, all, tokens]],
])("W + Σ ΔW at any strengths: %s", async (_, configs) => {
  const base = await baseOf();
  const parts = configs.map(
    (config, i): AdapterPart => ({
      adapter: adapterOf(config),
      strength: [0.7, 1, 1.6][i]!,
      layersOff: new Set(i === 1 ? [1] : []),
      isRestOff: i === 2,
    }),
  );
  const stack = await stackAdapters(parts, base);
  // One by itself runs with its start beside it.
  const merged = mergedTensors(plainFactors(stack), base.tensor);
  const wanted = new Map<string, Float64Array>();
  for (const part of parts) {
    for (const [name, change] of changesOf(part, base.values)) {
      const sum = wanted.get(name) ?? Float64Array.from(base.values.get(name)!);
      change.forEach((value, i) => {
        sum[i]! += value;
      });
      wanted.set(name, sum);
    }
  }
  // Modules that share a product have a bias of B all, if one has: zeros change nothing.
  for (const name of merged.keys())
    if (!wanted.has(name)) wanted.set(name, Float64Array.from(base.values.get(name)!));
  expect(new Set(merged.keys())).toEqual(new Set(wanted.keys()));
  for (const [name, tensor] of merged) {
    const found: number[] = [];
    for await (const block of rowBlocks(tensor)) found.push(...block);
    const largest = Math.max(...wanted.get(name)!.map(Math.abs));
    wanted.get(name)!.forEach((value, i) => {
      // Two roundings to f32: of what is joined, and of the sum.
      expect(Math.abs(found[i]! - value), `seed ${seed}, ${name} ${i}`).toBeLessThan(4e-7 * largest);
    });
  }
});

it("is nothing for no adapters, and for one at 0 it is as if it were not there", async () => {
  const base = await baseOf();
  const part = { adapter: adapterOf(all), strength: 1, layersOff: new Set<number>() };
  const none = await stackAdapters([], base);
  expect(adapterEntries(none.selection)).toEqual([]);
  const silent = { ...part, adapter: adapterOf(dora), strength: 0 };
  expect(adapterEntries((await stackAdapters([silent], base)).selection)).toEqual([]);
  const beside = await stackAdapters([part, silent], base);
  expect(adapterEntries(beside.selection)).toEqual(adapterEntries(part.adapter.selection));
  expect(beside.selection.lora).toEqual(part.adapter.selection.lora);
  for (const [key, values] of part.adapter.values) expect(beside.values.get(key)).toEqual(values);
});

it.each([
  ["LoRA", all],
  ["DoRA", dora],
  ["B's bias", biased],
  ["whole modules", whole],
  ["rows of tokens", tokens],
])("says how far it takes each parameter: %s", async (_, config) => {
  const base = await baseOf();
  const adapter = adapterOf(config);
  const wanted = changesOf({ adapter, strength: 1, layersOff: new Set() }, base.values);
  const changes = await parameterChanges(adapter, base.tensor);
  expect(changes.map(({ name }) => name).sort()).toEqual([...wanted.keys()].sort());
  for (const { name, change, base: norm } of changes) {
    expect(Math.abs(change / Math.hypot(...wanted.get(name)!) - 1), `seed ${seed}`).toBeLessThan(1e-6);
    expect(Math.abs(norm / Math.hypot(...base.values.get(name)!) - 1)).toBeLessThan(1e-12);
  }
});
