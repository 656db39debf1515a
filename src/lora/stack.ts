/**
 * Adapters added up, as one adapter of the same base: W + Σ ΔW.
 *
 * Low-rank changes of a module stay low-rank: their A [r, in] stand one below the other, their B [out, r] side by side,
 * each with its scale in it. Whole tensors become W + Σ (W′ − W). DoRA's change is not low-rank: where it is not the
 * only change of a matrix, it becomes a whole tensor too. Rows of single tokens are added up like whole tensors.
 */
import { loraBiasKey, loraKey, magnitudeKey, tokensKey, wholeKey } from "./adapterKeys.ts";
import { mergedTensors, type RowTensor, rowBlocks } from "./merge.ts";
import type { ModuleDescriptor } from "./modules.ts";
import { plainFactors } from "./plainLora.ts";
import type { LoraTarget, TokenRows, WholeTensor } from "./selection.ts";
import {
  type Adapter,
  type AdapterPart,
  type BaseParameters,
  baseRows,
  baseValues,
  scaledAdapter,
} from "./strength.ts";

/** One adapter that does what all of these do together; of none, one that changes nothing. */
export async function stackAdapters(parts: readonly AdapterPart[], base: BaseParameters): Promise<Adapter> {
  const scaled: Adapter[] = [];
  for (const part of parts) scaled.push(await scaledAdapter(part, base));
  const [only] = scaled;
  if (only && scaled.length === 1) return only;
  const plain = scaled.map(plainFactors);
  const addable: Adapter[] = [];
  for (const adapter of plain) addable.push(await withoutCrowdedMagnitudes(adapter, plain, base));
  const values = new Map<string, Float32Array>();
  const lora = joinFactors(addable, values);
  const whole = await addWhole(addable, base, values);
  const tokens = await addTokens(addable, base, values);
  return { selection: { lora, whole, tokens, targetModules: [], modulesToSave: null, warnings: [] }, values };
}

/** The adapter with DoRA's matrices as whole tensors, where others change them too. */
async function withoutCrowdedMagnitudes(
  adapter: Adapter,
  all: readonly Adapter[],
  base: BaseParameters,
): Promise<Adapter> {
  const { selection } = adapter;
  const others = all.filter((other) => other !== adapter);
  const isCrowded = ({ module, hasMagnitude }: LoraTarget): boolean =>
    hasMagnitude && others.some((other) => changesWeight(other, module.name));
  const crowded = selection.lora.filter(isCrowded);
  const whole = crowded.map(
    ({ module }): WholeTensor => ({ module, parameter: "weight", key: wholeKey(module.name, "weight") }),
  );
  const merged = mergedTensors(
    { selection: { ...selection, lora: crowded, whole: [], tokens: [] }, values: adapter.values },
    (module, parameter) => base.tensor(module, parameter),
  );
  const values = new Map(adapter.values);
  for (const { module, key } of whole) values.set(key, await numbersOf(merged.get(`${module.name}.weight`)!));
  const lora = selection.lora.filter((target) => !isCrowded(target));
  return { selection: { ...selection, lora, whole: [...selection.whole, ...whole] }, values };
}

function changesWeight({ selection: { lora, whole, tokens } }: Adapter, name: string): boolean {
  const isSo = ({ module }: { readonly module: { readonly name: string } }) => module.name === name;
  return (
    lora.some(isSo) ||
    tokens.some(isSo) ||
    whole.some((tensor) => isSo(tensor) && tensor.parameter === "weight")
  );
}

async function numbersOf(tensor: RowTensor): Promise<Float32Array> {
  const numbers = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  let at = 0;
  for await (const block of rowBlocks(tensor)) {
    numbers.set(block, at);
    at += block.length;
  }
  return numbers;
}

interface LowRankPart {
  readonly target: LoraTarget;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly bias: Float32Array | undefined;
}

/** The low-rank changes, one for each module; their tensors go to `values`. */
function joinFactors(adapters: readonly Adapter[], values: Map<string, Float32Array>): LoraTarget[] {
  const changes = new Map<string, LowRankPart[]>();
  for (const { selection, values: own } of adapters) {
    for (const target of selection.lora) {
      const { name, kind } = target.module;
      const [a, b] = [own.get(loraKey(name, "lora_A", kind))!, own.get(loraKey(name, "lora_B", kind))!];
      const part = { target, a, b, bias: own.get(loraBiasKey(name)) };
      changes.set(name, [...(changes.get(name) ?? []), part]);
      if (target.hasMagnitude) values.set(magnitudeKey(name), own.get(magnitudeKey(name))!);
    }
  }
  // Modules that share a product have such a bias all, or none has.
  const isBiased = adapters.some(({ selection }) => selection.lora.some(({ hasBias }) => hasBias));
  return [...changes.values()].map((parts) => {
    const [first] = parts;
    const { target, a, b, bias } = parts.length === 1 ? first! : joined(parts);
    const { name, kind, outFeatures } = target.module;
    const hasBias = isBiased && kind !== "embedding";
    values.set(loraKey(name, "lora_A", kind), a);
    values.set(loraKey(name, "lora_B", kind), b);
    if (hasBias) values.set(loraBiasKey(name), bias ?? new Float32Array(outFeatures));
    return { ...target, hasBias };
  });
}

/** Changes of one module along the rank, at the scale 1. */
function joined(parts: readonly LowRankPart[]): LowRankPart {
  const { module } = parts[0]!.target;
  const { inFeatures, outFeatures } = module;
  const r = parts.reduce((sum, { target }) => sum + target.r, 0);
  const a = new Float32Array(r * inFeatures);
  const b = new Float32Array(outFeatures * r);
  const bias = new Float32Array(outFeatures);
  let first = 0;
  for (const { target, ...part } of parts) {
    a.set(part.a, first * inFeatures);
    for (let o = 0; o < outFeatures; o++) {
      for (let j = 0; j < target.r; j++) b[o * r + first + j] = target.scale * part.b[o * target.r + j]!;
      if (part.bias) bias[o]! += target.scale * part.bias[o]!;
    }
    first += target.r;
  }
  return {
    target: { module, r, alpha: r, scale: 1, hasBias: true, hasMagnitude: false, fromBase: null },
    a,
    b,
    bias,
  };
}

/** The whole tensors, one for each parameter of the base; their numbers go to `values`. */
async function addWhole(
  adapters: readonly Adapter[],
  base: BaseParameters,
  values: Map<string, Float32Array>,
): Promise<WholeTensor[]> {
  const given = new Map<string, { readonly tensor: WholeTensor; readonly numbers: Float32Array[] }>();
  for (const { selection, values: own } of adapters) {
    for (const { module, parameter, key } of selection.whole) {
      const tensor = { module, parameter, key: wholeKey(module.name, parameter) };
      if (!given.has(tensor.key)) given.set(tensor.key, { tensor, numbers: [] });
      given.get(tensor.key)!.numbers.push(own.get(key)!);
    }
  }
  for (const { tensor, numbers } of given.values()) {
    values.set(tensor.key, numbers.length === 1 ? numbers[0]! : await summed(tensor, numbers, base));
  }
  return [...given.values()].map(({ tensor }) => tensor);
}

/**
 * The tokens' rows, one tensor for each module; their numbers go to `values`. Where the module has a whole tensor in
 * `values`, they are added to its rows.
 */
async function addTokens(
  adapters: readonly Adapter[],
  base: BaseParameters,
  values: Map<string, Float32Array>,
): Promise<TokenRows[]> {
  const given = new Map<ModuleDescriptor, { readonly rows: TokenRows; readonly numbers: Float32Array }[]>();
  for (const { selection, values: own } of adapters) {
    for (const rows of selection.tokens) {
      const numbers = own.get(rows.key)!;
      given.set(rows.module, [...(given.get(rows.module) ?? []), { rows, numbers }]);
    }
  }
  const tokens: TokenRows[] = [];
  for (const [module, parts] of given) {
    const indices = [...new Set(parts.flatMap(({ rows }) => rows.indices))];
    const all: TokenRows = { module, indices, key: tokensKey(module.name) };
    const before = await baseRows(base, all);
    const width = before.length / indices.length;
    const whole = values.get(wholeKey(module.name, "weight"));
    const sums = Float64Array.from(whole ? rowsOf(whole, indices, width) : before);
    for (const { rows, numbers } of parts) {
      numbers.forEach((value, i) => {
        const at = indices.indexOf(rows.indices[Math.floor(i / width)]!) * width + (i % width);
        sums[at]! += value - before[at]!;
      });
    }
    const summed = Float32Array.from(sums);
    if (!whole) {
      values.set(all.key, summed);
      tokens.push(all);
      continue;
    }
    const changed = whole.slice();
    for (const [i, index] of indices.entries())
      changed.set(summed.subarray(i * width, (i + 1) * width), index * width);
    values.set(wholeKey(module.name, "weight"), changed);
  }
  return tokens;
}

function rowsOf(table: Float32Array, indices: readonly number[], width: number): Float32Array {
  const rows = new Float32Array(indices.length * width);
  for (const [i, index] of indices.entries())
    rows.set(table.subarray(index * width, (index + 1) * width), i * width);
  return rows;
}

/** W + Σ (W′ − W), rounded once. */
async function summed(
  { module, parameter }: WholeTensor,
  changed: readonly Float32Array[],
  base: BaseParameters,
): Promise<Float32Array> {
  const before = await baseValues(base, module.name, parameter);
  return before.map((value, i) => changed.reduce((sum, after) => sum + (after[i]! - value), value));
}
