/**
 * The base's tensors as an adapter leaves them. LoRA adds to a matrix, and DoRA then gives its rows their lengths m:
 *
 *   W' = W + s·B·A            W' = m/n ⊙ (W + s·B·A),  n = ‖W + s·B·A‖
 *
 * W [out, in], A [r, in], B [out, r], m and n [out]. Where W is stored as [in, out], so is W': by Conv1D, and by an
 * embedding, whose ids are a one-hot x of [vocabulary]. A bias of B comes into the base's, scaled like B. What trained
 * whole takes the place of what was there, as do tokens' rows that trained by themselves.
 *
 * Sums are taken in float64 and rounded to f32 once. A few rows are made at a time, so a model need not fit into memory.
 */
import type { StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { toFloat32 } from "../formats/floats.ts";
import { loraBiasKey, loraKey, magnitudeKey } from "./adapterKeys.ts";
import type { LoadedAdapter } from "./readAdapter.ts";
import type { LoraTarget } from "./selection.ts";
import { transposed } from "./transposed.ts";

/** A tensor that is read in rows; a vector's rows are its numbers. */
export interface RowTensor {
  /** As the checkpoint stores it. */
  readonly shape: readonly number[];
  /** Rows [start, end) in f32. */
  rows(start: number, end: number): Promise<Float32Array>;
}

/** Numbers that are made at a time: 4 MiB of f32. */
const BLOCK_NUMBERS = 1 << 20;

/** All rows in order, block by block. */
export async function* rowBlocks(tensor: RowTensor): AsyncGenerator<Float32Array> {
  const [rows = 1, ...rest] = tensor.shape;
  const width = rest.reduce((product, size) => product * size, 1);
  const step = Math.max(1, Math.floor(BLOCK_NUMBERS / width));
  for (let start = 0; start < rows; start += step) yield tensor.rows(start, Math.min(rows, start + step));
}

/**
 * What an adapter makes of the base's tensors, by Transformers' names; tensors that it leaves alone are not among them.
 * A head that is tied to the embedding stands beside it where it has become another.
 * `base` gives a module's parameter as the checkpoint stores it, a tied head's too. Throws FormatError where PEFT
 * cannot merge the adapter either, and while rows are made where they are not finite.
 */
export function mergedTensors(
  { selection, values }: Pick<LoadedAdapter, "selection" | "values">,
  base: (module: string, parameter: string) => StoredTensor,
): Map<string, RowTensor> {
  const merged = new Map<string, RowTensor>();
  for (const { module, parameter, key } of selection.whole) {
    merged.set(`${module.name}.${parameter}`, wholeTensor(values.get(key)!, module.parameters[parameter]!));
  }
  for (const { module, indices, key } of selection.tokens) {
    const before = merged.get(`${module.name}.weight`) ?? storedTensor(base(module.name, "weight"));
    merged.set(`${module.name}.weight`, replacedRows(before, indices, values.get(key)!));
  }
  const change = (target: LoraTarget, parameter: string, make: (before: RowTensor) => RowTensor) => {
    const name = `${target.module.name}.${parameter}`;
    const before = merged.get(name) ?? storedTensor(base(target.module.name, parameter));
    merged.set(name, finite(name, make(before)));
  };
  for (const target of selection.lora) {
    const { module, hasBias, hasMagnitude, scale } = target;
    const lowRank = {
      a: values.get(loraKey(module.name, "lora_A", module.kind))!,
      b: values.get(loraKey(module.name, "lora_B", module.kind))!,
      r: target.r,
      scale,
    };
    const lengths = hasMagnitude ? values.get(magnitudeKey(module.name))! : undefined;
    const turned = module.kind === "conv1d" || module.kind === "embedding";
    change(target, "weight", (before) =>
      turned ? mergedTurned(before, lowRank, lengths) : mergedMatrix(before, lowRank, lengths),
    );
    if (!hasBias) continue;
    if (module.parameters.bias === undefined) throw unmergeableBias(module.name);
    const added = values.get(loraBiasKey(module.name))!;
    change(target, "bias", (before) => mapped(before, (value, i) => value + scale * added[i]!));
  }
  return merged;
}

function unmergeableBias(module: string): FormatError {
  return new FormatError(
    "unmergeable-bias",
    `The adapter has a bias of B for ${module}, which has no bias in the base model to take it: PEFT cannot merge it either.`,
    "Use the adapter beside its base, or train without lora_bias.",
  );
}

export function storedTensor(tensor: StoredTensor): RowTensor {
  const rowBytes = tensor.byteLength / Math.max(tensor.shape[0] ?? 1, 1);
  return {
    shape: tensor.shape,
    rows: async (start, end) => toFloat32(await tensor.read(start * rowBytes, end * rowBytes), tensor.dtype),
  };
}

function wholeTensor(values: Float32Array, shape: readonly number[]): RowTensor {
  const width = values.length / Math.max(shape[0] ?? 1, 1);
  return { shape, rows: async (start, end) => values.slice(start * width, end * width) };
}

/** Row i of `values` takes the place of row indices[i]. */
function replacedRows(before: RowTensor, indices: readonly number[], values: Float32Array): RowTensor {
  const width = values.length / indices.length;
  return {
    shape: before.shape,
    rows: async (start, end) => {
      const rows = await before.rows(start, end);
      for (const [i, index] of indices.entries()) {
        if (index < start || index >= end) continue;
        rows.set(values.subarray(i * width, (i + 1) * width), (index - start) * width);
      }
      return rows;
    },
  };
}

/** Each number of a vector made anew from what it was, and its place. */
function mapped(before: RowTensor, make: (value: number, index: number) => number): RowTensor {
  return {
    shape: before.shape,
    rows: async (start, end) => (await before.rows(start, end)).map((value, i) => make(value, start + i)),
  };
}

interface LowRank {
  /** [r, in] */
  readonly a: Float32Array;
  /** [out, r] */
  readonly b: Float32Array;
  readonly r: number;
  readonly scale: number;
}

/** W is stored as [out, in]: a stored row has one length. */
function mergedMatrix(
  before: RowTensor,
  { a, b, r, scale }: LowRank,
  lengths: Float32Array | undefined,
): RowTensor {
  const inFeatures = before.shape[1]!;
  const row = new Float64Array(inFeatures);
  const mergeRow = (values: Float32Array, o: number) => {
    row.set(values);
    for (let j = 0; j < r; j++) {
      const factor = scale * b[o * r + j]!;
      if (factor === 0) continue;
      for (let k = 0; k < inFeatures; k++) row[k]! += factor * a[j * inFeatures + k]!;
    }
    const stretch = lengths ? lengths[o]! / Math.sqrt(sumOfSquares(row)) : 1;
    for (let k = 0; k < inFeatures; k++) values[k] = stretch * row[k]!;
  };
  return {
    shape: before.shape,
    rows: async (start, end) => {
      const values = await before.rows(start, end);
      for (let o = start; o < end; o++) {
        mergeRow(values.subarray((o - start) * inFeatures, (o - start + 1) * inFeatures), o);
      }
      return values;
    },
  };
}

function sumOfSquares(row: Float64Array): number {
  let squares = 0;
  for (let k = 0; k < row.length; k++) squares += row[k]! * row[k]!;
  return squares;
}

/** W is stored as [in, out]: lengths belong to columns, and are known when all rows have been seen. */
function mergedTurned(
  before: RowTensor,
  { a, b, r, scale }: LowRank,
  lengths: Float32Array | undefined,
): RowTensor {
  const [inFeatures, outFeatures] = before.shape as [number, number];
  // B [out, r] as [r, out], so that a row of the sum runs along it.
  const bRows = transposed(b, outFeatures);
  const row = new Float64Array(outFeatures);
  /** Sets `row` to row k of (W + s·B·A)ᵀ. */
  const sumRow = (values: Float32Array, k: number) => {
    row.set(values);
    for (let j = 0; j < r; j++) {
      const factor = scale * a[j * inFeatures + k]!;
      if (factor === 0) continue;
      for (let o = 0; o < outFeatures; o++) row[o]! += factor * bRows[j * outFeatures + o]!;
    }
  };
  const eachRow = async (start: number, end: number, visit: (values: Float32Array) => void) => {
    const values = await before.rows(start, end);
    for (let k = start; k < end; k++) {
      const place = values.subarray((k - start) * outFeatures, (k - start + 1) * outFeatures);
      sumRow(place, k);
      visit(place);
    }
    return values;
  };
  const stretches = async () => {
    if (!lengths) return new Float64Array(outFeatures).fill(1);
    const squares = new Float64Array(outFeatures);
    const add = () => {
      for (let o = 0; o < outFeatures; o++) squares[o]! += row[o]! * row[o]!;
    };
    const step = Math.max(1, Math.floor(BLOCK_NUMBERS / outFeatures));
    for (let k = 0; k < inFeatures; k += step) await eachRow(k, Math.min(inFeatures, k + step), add);
    return squares.map((sum, o) => lengths[o]! / Math.sqrt(sum));
  };
  let known: Promise<Float64Array> | undefined;
  return {
    shape: before.shape,
    rows: async (start, end) => {
      known ??= stretches();
      const stretch = await known;
      return eachRow(start, end, (values) => {
        for (let o = 0; o < outFeatures; o++) values[o] = stretch[o]! * row[o]!;
      });
    },
  };
}

/** Refuses what has left f32, or was no number in the base already. */
function finite(name: string, tensor: RowTensor): RowTensor {
  return {
    shape: tensor.shape,
    rows: async (start, end) => {
      const values = await tensor.rows(start, end);
      const bad = values.findIndex((value) => !Number.isFinite(value));
      if (bad === -1) return values;
      const row = start + Math.floor((bad * (end - start)) / values.length);
      throw new FormatError(
        "not-finite",
        `Merging the adapter gives ${name} the value ${values[bad]} in row ${row}.`,
        "The training that made the adapter diverged, or it does not belong to this base model; take an earlier checkpoint.",
      );
    },
  };
}
