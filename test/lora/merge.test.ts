/** What merging makes of single tensors. Whole checkpoints against PEFT's: reference/verify_merged.py. */

import { describe, expect, it } from "vitest";
import type { StoredTensor } from "../../src/base/bytes.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { openSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { adapterEntries } from "../../src/lora/adapterKeys.ts";
import { parseLoraConfig } from "../../src/lora/config.ts";
import { mergedTensors, type RowTensor, rowBlocks } from "../../src/lora/merge.ts";
import type { ModuleDescriptor } from "../../src/lora/modules.ts";
import type { Selection } from "../../src/lora/selection.ts";
import { selectModules } from "../../src/lora/targets.ts";
import { uniform } from "../harness/random.ts";

const seed = Number(process.env.GRAFT_SEED ?? Math.floor(Math.random() * 2 ** 32));
const next = uniform(seed);
const random = () => 2 * next() - 1;
const numbers = (count: number) => Float32Array.from({ length: count }, random);
const count = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

const IN = 7;
const OUT = 5;
const linear: ModuleDescriptor = {
  name: "model.linear",
  kind: "linear",
  inFeatures: IN,
  outFeatures: OUT,
  parameters: { weight: [OUT, IN], bias: [OUT] },
};
const unbiased = { ...linear, name: "model.unbiased", parameters: { weight: [OUT, IN] } };
const conv: ModuleDescriptor = {
  ...linear,
  name: "model.conv",
  kind: "conv1d",
  parameters: { weight: [IN, OUT], bias: [OUT] },
};
const embedding: ModuleDescriptor = {
  ...{ name: "model.embedding", kind: "embedding", inFeatures: IN, outFeatures: OUT },
  parameters: { weight: [IN, OUT] },
};

async function baseOf(modules: readonly ModuleDescriptor[], fill = numbers) {
  const values = new Map<string, Float32Array>();
  for (const { name, parameters } of modules) {
    for (const [key, shape] of Object.entries(parameters)) values.set(`${name}.${key}`, fill(count(shape)));
  }
  const shapes = new Map<string, readonly number[]>(
    modules.flatMap(({ name, parameters }) =>
      Object.entries(parameters).map(([key, shape]) => [`${name}.${key}`, shape] as const),
    ),
  );
  const bytes = writeSafetensors(
    [...values].map(([name, of]) => ({
      ...{ name, dtype: "F32" as const, shape: shapes.get(name)! },
      bytes: new Uint8Array(of.buffer),
    })),
  );
  const { tensors } = await openSafetensors(arraySource(bytes, "base"));
  const tensor = (module: string, parameter: string): StoredTensor => tensors.get(`${module}.${parameter}`)!;
  return { values, tensor };
}

/** A random adapter of these modules. */
function adapterOf(modules: readonly ModuleDescriptor[], lora: JsonObject) {
  const { config } = parseLoraConfig({ target_modules: [modules[0]!.name], ...lora });
  const context = { modelType: "llama", origin: "run", path: "lora" } as const;
  const selection: Selection = selectModules(modules, config, context);
  const values = new Map(
    adapterEntries(selection).map(({ key, shape }) => [key, numbers(count(shape))] as const),
  );
  const value = (ending: string) => [...values].find(([key]) => key.endsWith(ending))![1];
  return { selection, values, value };
}

async function all(tensor: RowTensor): Promise<number[]> {
  const found: number[] = [];
  for await (const rows of rowBlocks(tensor)) found.push(...rows);
  return found;
}

/** Nothing but rounding to f32 may part them. */
function expectClose(found: readonly number[], wanted: readonly number[]) {
  expect(found.length, `seed ${seed}`).toBe(wanted.length);
  for (const [i, value] of wanted.entries())
    expect(Math.abs(found[i]! - value), `seed ${seed}, ${i}`).toBeLessThanOrEqual(
      2e-7 * Math.abs(value) + 1e-30,
    );
}

/** (W + s·B·A)[o][k], by its definition. */
function summed(w: Float32Array, a: Float32Array, b: Float32Array, scale: number, turned: boolean) {
  const r = a.length / IN;
  return (o: number, k: number) => {
    let sum = w[turned ? k * OUT + o : o * IN + k]!;
    for (let j = 0; j < r; j++) sum += scale * b[o * r + j]! * a[j * IN + k]!;
    return sum;
  };
}

describe("a merged matrix is W + s·B·A, or m/n times it", () => {
  it.each([
    ["linear", linear, {}],
    ["linear, by DoRA", linear, { use_dora: true }],
    ["Conv1D", conv, {}],
    ["Conv1D, by DoRA", conv, { use_dora: true }],
    ["embedding", embedding, {}],
  ])("%s", async (_, module, lora) => {
    const { values, tensor } = await baseOf([module]);
    const adapter = adapterOf([module], { r: 3, lora_alpha: 5, use_rslora: true, ...lora });
    const turned = module !== linear;
    const halves = turned && module === embedding ? ["embedding_A", "embedding_B"] : ["A.weight", "B.weight"];
    const [a, b] = halves.map((ending) => adapter.value(ending)) as [Float32Array, Float32Array];
    const at = summed(values.get(`${module.name}.weight`)!, a, b, 5 / Math.sqrt(3), turned);
    const stretch = (o: number) => {
      if (!("use_dora" in lora)) return 1;
      let squares = 0;
      for (let k = 0; k < IN; k++) squares += at(o, k) ** 2;
      return adapter.value("magnitude_vector")[o]! / Math.sqrt(squares);
    };
    const wanted = Array.from({ length: IN * OUT }, (_, i) => {
      const [o, k] = turned ? [i % OUT, Math.floor(i / OUT)] : [Math.floor(i / IN), i % IN];
      return stretch(o) * at(o, k);
    });
    const merged = mergedTensors(adapter, tensor);
    expect([...merged.keys()]).toEqual([`${module.name}.weight`]);
    const rows = merged.get(`${module.name}.weight`)!;
    expect(rows.shape).toEqual(module.parameters.weight);
    expectClose(await all(rows), wanted);
    const width = turned ? OUT : IN;
    expectClose([...(await rows.rows(2, 4))], wanted.slice(2 * width, 4 * width));
  });
});

it("is made in blocks of rows where it is large, with the same lengths for all of them", async () => {
  const wide: ModuleDescriptor = {
    ...conv,
    ...{ inFeatures: 2100, outFeatures: 1000, parameters: { weight: [2100, 1000] } },
  };
  const { tensor } = await baseOf([wide]);
  const adapter = adapterOf([wide], { r: 1, use_dora: true });
  const rows = mergedTensors(adapter, tensor).get("model.conv.weight")!;
  const sizes: number[] = [];
  const squares = new Float64Array(1000);
  for await (const block of rowBlocks(rows)) {
    sizes.push(block.length);
    block.forEach((value, i) => {
      squares[i % 1000]! += value * value;
    });
  }
  expect(sizes).toEqual([1_048_000, 1_048_000, 4000]);
  const lengths = adapter.value("magnitude_vector");
  expectClose(
    [...squares].map((sum) => Math.fround(Math.sqrt(sum))),
    [...lengths].map(Math.abs),
  );
});

describe("a bias", () => {
  it("of B comes into the base's, scaled", async () => {
    const { values, tensor } = await baseOf([linear]);
    const adapter = adapterOf([linear], { r: 2, lora_alpha: 3, lora_bias: true });
    const added = adapter.value("lora_B.bias");
    const bias = mergedTensors(adapter, tensor).get("model.linear.bias")!;
    const wanted = [...values.get("model.linear.bias")!].map((value, i) => value + 1.5 * added[i]!);
    expectClose(await all(bias), wanted.map(Math.fround));
    expectClose([...(await bias.rows(1, 3))], wanted.slice(1, 3).map(Math.fround));
  });

  it("of B without one to take it is refused, as by PEFT", async () => {
    const { tensor } = await baseOf([unbiased]);
    const adapter = adapterOf([unbiased], { r: 2, lora_bias: true });
    expect(() => mergedTensors(adapter, tensor)).toThrow(/bias of B for model\.unbiased, which has no bias/);
  });
});

it("what trained whole takes the place of what was there", async () => {
  const modules = [linear, unbiased, conv];
  const { tensor } = await baseOf(modules);
  const adapter = adapterOf(modules, { modules_to_save: ["conv"], bias: "lora_only" });
  const merged = mergedTensors(adapter, tensor);
  expect([...merged.keys()].sort()).toEqual([
    "model.conv.bias",
    "model.conv.weight",
    "model.linear.bias",
    "model.linear.weight",
  ]);
  expect(await all(merged.get("model.conv.weight")!)).toEqual([...adapter.value("conv.weight")]);
  expect([...(await merged.get("model.conv.weight")!.rows(3, 5))]).toEqual([
    ...adapter.value("conv.weight").subarray(3 * OUT, 5 * OUT),
  ]);
  expect(await all(merged.get("model.linear.bias")!)).toEqual([...adapter.value("base_layer.bias")]);
});

it("rows that trained by themselves take the place of the table's, others stay", async () => {
  const modules = [linear, embedding];
  const { values, tensor } = await baseOf(modules);
  const { value, ...adapter } = adapterOf(modules, { trainable_token_indices: [6, 0, 3] });
  const expected = [...values.get("model.embedding.weight")!];
  const rows = [...value("trainable_tokens_delta")];
  [6, 0, 3].forEach((index, i) => {
    expected.splice(index * OUT, OUT, ...rows.slice(i * OUT, (i + 1) * OUT));
  });
  const merged = mergedTensors(adapter, tensor).get("model.embedding.weight")!;
  expect(await all(merged)).toEqual(expected);
  expect([...(await merged.rows(2, 4))]).toEqual(expected.slice(2 * OUT, 4 * OUT));
});

it("values that leave f32 are refused with their tensor and row", async () => {
  const { tensor } = await baseOf([linear], (count) => new Float32Array(count).fill(3e38));
  const adapter = adapterOf([linear], { r: 1, lora_alpha: 1 });
  adapter.value("lora_A.weight").fill(0)[4] = 1e30;
  adapter.value("lora_B.weight").fill(0)[3] = 1e30;
  const rows = mergedTensors(adapter, tensor).get("model.linear.weight")!;
  await expect(rows.rows(0, 3)).resolves.toBeDefined();
  await expect(rows.rows(2, 5)).rejects.toThrow(/gives model\.linear\.weight the value Infinity in row 3/);
});
