import { ConfigError } from "../base/errors.ts";
import { iterationsOf, type LoraStart, normals } from "./init.ts";
import { orthonormal } from "./orthonormal.ts";
import type { StoredMatrix } from "./rowNorms.ts";
import type { LoraTarget } from "./selection.ts";
import { approximateSingular, largestSingular, type SingularTriplets } from "./singular.ts";
import { combined, type Matrix, projected, rowsOf, type Vector } from "./vectors.ts";

/**
 * A₀ and B₀ of a module's W, as PEFT's `pissa_init` and `olora_init` take them:
 *
 *   "pissa"          W ≈ U·Σ·Vᵀ by the r largest singular values:  A = √(Σ/s)·Vᵀ, B = U·√(Σ/s)  (Meng et al. 2024)
 *   "pissa_niter_n"  the same by n rounds of subspace iteration from random vectors
 *   "olora"          W = Q·R:  A = the first r rows of R, B = the first r columns of Q  (Büyükakyüz 2024)
 */
export function baseStart(matrix: StoredMatrix, target: LoraTarget, seed: number): LoraStart {
  const { r, fromBase } = target;
  const start = fromBase === "olora" ? fromQr(matrix, r) : fromSingular(matrix, target, seed);
  if (start.a.every(Number.isFinite)) return start;
  throw new ConfigError(
    "not-finite",
    `init_lora_weights is "${fromBase}", but ${matrix.name}.weight holds numbers that are not finite.`,
    "Leave the module out of target_modules, or begin with init_lora_weights true.",
  );
}

function fromSingular(stored: StoredMatrix, target: LoraTarget, seed: number): LoraStart {
  const { r, scale, fromBase } = target;
  const { name, outFeatures, inFeatures } = stored;
  const found = triplets(matrixOf(stored), r, fromBase!, { name, seed });
  const [ofOut, ofIn] = stored.turned ? [found.right, found.left] : [found.left, found.right];
  const a = new Float32Array(r * inFeatures);
  const b = new Float32Array(outFeatures * r);
  found.values.forEach((value, j) => {
    const factor = Math.sqrt(value / scale);
    for (let k = 0; k < inFeatures; k++) a[j * inFeatures + k] = factor * ofIn[j]![k]!;
    for (let o = 0; o < outFeatures; o++) b[o * r + j] = factor * ofOut[j]![o]!;
  });
  return { a, b };
}

function triplets(
  matrix: Matrix,
  r: number,
  init: string,
  { name, seed }: { readonly name: string; readonly seed: number },
): SingularTriplets {
  const iterations = iterationsOf(init);
  if (iterations === undefined) return largestSingular(matrix, r);
  const length = Math.min(matrix.rows, matrix.columns);
  const drawn = Float64Array.from(normals(seed, name, "sketch", r * length, 1));
  const start = Array.from({ length: r }, (_, j) => drawn.subarray(j * length, (j + 1) * length));
  return approximateSingular(matrix, start, iterations);
}

/** The first r columns of Q follow from the first r columns of W alone, and R's rows are Qᵀ·W. */
function fromQr(stored: StoredMatrix, r: number): LoraStart {
  const { outFeatures, inFeatures, turned } = stored;
  const rows = rowsOf(matrixOf(stored));
  const column = (k: number): Vector => (turned ? rows[k]! : Float64Array.from(rows, (row) => row[k]!));
  const a = new Float32Array(r * inFeatures);
  const b = new Float32Array(outFeatures * r);
  orthonormal(Array.from({ length: r }, (_, k) => Float64Array.from(column(k)))).forEach((q, j) => {
    for (let o = 0; o < outFeatures; o++) b[o * r + j] = q[o]!;
    const row = turned ? projected(rows, q) : combined(rows, q);
    // R is upper triangular.
    a.set(row.subarray(j), j * inFeatures + j);
  });
  return { a, b };
}

function matrixOf({ values, outFeatures, inFeatures, turned }: StoredMatrix): Matrix {
  return turned
    ? { values, rows: inFeatures, columns: outFeatures }
    : { values, rows: outFeatures, columns: inFeatures };
}
