/** The largest singular values of a matrix with their vectors, in float64. */
import { orthonormal } from "./orthonormal.ts";
import { largestEigenvectors } from "./symmetric.ts";
import { columnsOf, combined, type Matrix, projected, rowsOf, type Vector } from "./vectors.ts";

/** The matrix is nearly Σ values[j]·left[j]·right[j]ᵀ; values fall. left [rows], right [columns]. */
export interface SingularTriplets {
  readonly values: readonly number[];
  readonly left: readonly Float64Array[];
  readonly right: readonly Float64Array[];
}

/**
 * The `count` largest: the eigenvectors of X·Xᵀ, X being the matrix with its shorter side first, and what X makes of
 * them. The product of the triplets depends on these eigenvectors alone, so that squaring costs it no digits; a
 * singular value is exact to some 1e-16 of the largest one, times how much larger that is.
 */
export function largestSingular(matrix: Matrix, count: number): SingularTriplets {
  const rows = shorterSide(matrix);
  return triplets(rows, largestEigenvectors(gram(rows), rows.length, count), isTurned(matrix));
}

/**
 * An approximation from `iterations` rounds of subspace iteration (Halko et al. 2009, algorithm 4.4), as PyTorch's
 * svd_lowrank: `start` are random vectors, as many as triplets are wanted, as long as the shorter side.
 */
export function approximateSingular(
  matrix: Matrix,
  start: readonly Float64Array[],
  iterations: number,
): SingularTriplets {
  const rows = shorterSide(matrix);
  let basis = orthonormal(start.map((vector) => combined(rows, vector)));
  for (let i = 0; i < iterations; i++) {
    const across = orthonormal(basis.map((vector) => projected(rows, vector)));
    basis = orthonormal(across.map((vector) => combined(rows, vector)));
  }
  const inside = basis.map((vector) => projected(rows, vector));
  const turns = largestEigenvectors(gram(inside), inside.length, inside.length);
  const { values, left, right } = triplets(inside, turns, false);
  const long = left.map((turn) => combined(basis, turn));
  return isTurned(matrix) ? { values, left: long, right } : { values, left: right, right: long };
}

function isTurned({ rows, columns }: Matrix): boolean {
  return columns < rows;
}

/** The rows, or the columns where there are fewer of these. */
function shorterSide(matrix: Matrix): Float32Array[] {
  return isTurned(matrix) ? columnsOf(matrix) : rowsOf(matrix);
}

/** X·Xᵀ [n, n], its lower triangle, of the rows of X. */
function gram(rows: readonly Vector[]): Float64Array {
  const n = rows.length;
  const products = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    // Four at a time: each number of row i is read once for all of them.
    for (let j = 0; j <= i; j += 4) {
      const four = [0, 1, 2, 3].map((next) => rows[Math.min(j + next, i)]!);
      dotFour(rows[i]!, four as [Vector, Vector, Vector, Vector]).forEach((dot, next) => {
        if (j + next <= i) products[i * n + j + next] = dot;
      });
    }
  }
  return products;
}

function dotFour(x: Vector, [a, b, c, d]: readonly [Vector, Vector, Vector, Vector]): number[] {
  let [ofA, ofB, ofC, ofD] = [0, 0, 0, 0];
  for (let k = 0; k < x.length; k++) {
    const value = x[k]!;
    ofA += value * a[k]!;
    ofB += value * b[k]!;
    ofC += value * c[k]!;
    ofD += value * d[k]!;
  }
  return [ofA, ofB, ofC, ofD];
}

/** `short` are singular vectors of X on its shorter side. Turned, X is the matrix's transpose. */
function triplets(
  rows: readonly Vector[],
  short: readonly Float64Array[],
  turned: boolean,
): SingularTriplets {
  const found = short
    .map((one) => {
      const other = combined(rows, one);
      const value = Math.sqrt(other.reduce((sum, part) => sum + part * part, 0));
      return { value, one, other: value > 0 ? other.map((part) => part / value) : other };
    })
    .sort((a, b) => b.value - a.value);
  const [ones, others] = [found.map(({ one }) => one), found.map(({ other }) => other)];
  const values = found.map(({ value }) => value);
  return turned ? { values, left: others, right: ones } : { values, left: ones, right: others };
}
