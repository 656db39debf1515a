/** How far an adapter takes the base's parameters from where they were. */
import type { StoredTensor } from "../base/bytes.ts";
import { loraBiasKey, loraKey } from "./adapterKeys.ts";
import { mergedTensors, type RowTensor, rowBlocks, storedTensor } from "./merge.ts";
import type { LoraTarget } from "./selection.ts";
import type { Adapter } from "./strength.ts";

/** By Frobenius' norm, summed in float64. */
export interface ParameterChange {
  /** The parameter's name in the base: "model.layers.0.mlp.up_proj.weight". */
  readonly name: string;
  /** ‖W′ − W‖, which for LoRA is ‖s·B·A‖. */
  readonly change: number;
  /** ‖W‖; 0 for a bias that the base does not have. */
  readonly base: number;
}

/** One for each parameter that the adapter changes, and in each way that it does. `base` gives it as the checkpoint stores it. */
export async function parameterChanges(
  adapter: Adapter,
  base: (module: string, parameter: string) => StoredTensor,
): Promise<ParameterChange[]> {
  const { selection, values } = adapter;
  const changes: ParameterChange[] = [];
  const compare = async (module: string, parameter: string, after: RowTensor): Promise<void> => {
    const norms = await differenceNorms(storedTensor(base(module, parameter)), after);
    changes.push({ name: `${module}.${parameter}`, ...norms });
  };
  for (const target of selection.lora) {
    const { module, hasBias, hasMagnitude, scale } = target;
    const { name } = module;
    if (hasMagnitude) {
      const alone = { selection: { ...selection, lora: [target], whole: [], tokens: [] }, values };
      await compare(name, "weight", mergedTensors(alone, base).get(`${name}.weight`)!);
    } else {
      const before = await norm(storedTensor(base(name, "weight")));
      changes.push({ name: `${name}.weight`, change: lowRankNorm(target, values), base: before });
    }
    if (!hasBias) continue;
    const isThere = module.parameters.bias !== undefined;
    changes.push({
      name: `${name}.bias`,
      change: Math.abs(scale) * Math.sqrt(sumOfSquares(values.get(loraBiasKey(name))!)),
      base: isThere ? await norm(storedTensor(base(name, "bias"))) : 0,
    });
  }
  const replaced = mergedTensors({ selection: { ...selection, lora: [] }, values }, base);
  for (const { module, parameter } of selection.whole)
    await compare(module.name, parameter, replaced.get(`${module.name}.${parameter}`)!);
  for (const { module } of selection.tokens)
    await compare(module.name, "weight", replaced.get(`${module.name}.weight`)!);
  return changes;
}

/** ‖s·B·A‖ by ‖B·A‖² = Σ (BᵀB) ⊙ (A·Aᵀ): the product itself is never made. */
function lowRankNorm({ module, r, scale }: LoraTarget, values: Adapter["values"]): number {
  const { name, kind, inFeatures, outFeatures } = module;
  const a = values.get(loraKey(name, "lora_A", kind))!;
  const b = values.get(loraKey(name, "lora_B", kind))!;
  let squares = 0;
  for (let i = 0; i < r; i++) {
    for (let j = 0; j < r; j++) {
      let [ofA, ofB] = [0, 0];
      for (let k = 0; k < inFeatures; k++) ofA += a[i * inFeatures + k]! * a[j * inFeatures + k]!;
      for (let o = 0; o < outFeatures; o++) ofB += b[o * r + i]! * b[o * r + j]!;
      squares += ofA * ofB;
    }
  }
  // Rounding may leave a zero below itself.
  return Math.abs(scale) * Math.sqrt(Math.max(0, squares));
}

async function norm(tensor: RowTensor): Promise<number> {
  let squares = 0;
  for await (const block of rowBlocks(tensor)) squares += sumOfSquares(block);
  return Math.sqrt(squares);
}

async function differenceNorms(
  before: RowTensor,
  after: RowTensor,
): Promise<{ change: number; base: number }> {
  let [change, base] = [0, 0];
  const others = rowBlocks(after);
  for await (const block of rowBlocks(before)) {
    const other = (await others.next()).value as Float32Array;
    base += sumOfSquares(block);
    change += sumOfSquares(Float64Array.from(block, (value, i) => other[i]! - value));
  }
  return { change: Math.sqrt(change), base: Math.sqrt(base) };
}

function sumOfSquares(numbers: Float32Array | Float64Array): number {
  let squares = 0;
  for (const value of numbers) squares += value * value;
  return squares;
}
