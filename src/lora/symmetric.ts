/** The largest eigenvalues of a symmetric matrix, in float64: tridiagonal form, bisection, inverse iteration. */
import { philox } from "../base/random.ts";

/**
 * Orthonormal eigenvectors of the `count` largest eigenvalues of a symmetric matrix [n, n], in falling order. Only
 * the lower triangle is read; it is overwritten.
 */
export function largestEigenvectors(matrix: Float64Array, n: number, count: number): Float64Array[] {
  const { tridiagonal, weights } = tridiagonalise(matrix, n);
  const found: Float64Array[] = [];
  for (let j = 0; j < count; j++) {
    found.push(eigenvector(tridiagonal, eigenvalue(tridiagonal, n - 1 - j), found));
  }
  for (const vector of found) turnBack(matrix, weights, vector);
  return found;
}

/** beside[i] couples rows i − 1 and i; beside[0] is 0. */
interface Tridiagonal {
  readonly diagonal: Float64Array;
  readonly beside: Float64Array;
}

/**
 * Householder's reduction from the last row up (Golub and Van Loan, section 8.3.1). Row k of the lower triangle, up to
 * its diagonal, is left holding v of its reflection 1 − weight·v·vᵀ.
 */
function tridiagonalise(
  a: Float64Array,
  n: number,
): { readonly tridiagonal: Tridiagonal; readonly weights: Float64Array } {
  const beside = new Float64Array(n);
  const weights = new Float64Array(n);
  for (let k = n - 1; k > 0; k--) {
    const v = a.subarray(k * n, k * n + k);
    const last = v[k - 1]!;
    let rest = 0;
    for (let j = 0; j < k - 1; j++) rest += v[j]! * v[j]!;
    if (rest === 0) {
      beside[k] = last;
      continue;
    }
    const length = Math.sqrt(rest + last * last);
    beside[k] = last < 0 ? length : -length;
    v[k - 1]! -= beside[k]!;
    weights[k] = 2 / (rest + v[k - 1]! * v[k - 1]!);
    reflectBothSides(a, n, v, weights[k]!);
  }
  const diagonal = Float64Array.from({ length: n }, (_, i) => a[i * n + i]!);
  return { tridiagonal: { diagonal, beside }, weights };
}

/** H·A·H of the lower triangle of the first v.length rows, with H = 1 − weight·v·vᵀ: A − v·pᵀ − p·vᵀ. */
function reflectBothSides(a: Float64Array, n: number, v: Float64Array, weight: number): void {
  const p = new Float64Array(v.length);
  for (let i = 0; i < v.length; i++) {
    const row = i * n;
    const own = v[i]!;
    let sum = a[row + i]! * own;
    for (let j = 0; j < i; j++) {
      sum += a[row + j]! * v[j]!;
      p[j]! += a[row + j]! * own;
    }
    p[i]! += sum;
  }
  let dot = 0;
  for (let i = 0; i < p.length; i++) dot += weight * p[i]! * v[i]!;
  for (let i = 0; i < p.length; i++) p[i] = weight * (p[i]! - 0.5 * dot * v[i]!);
  for (let i = 0; i < v.length; i++) {
    const row = i * n;
    for (let j = 0; j <= i; j++) a[row + j]! -= v[i]! * p[j]! + p[i]! * v[j]!;
  }
}

/** From the tridiagonal matrix's coordinates to the matrix's own, in place. */
function turnBack(a: Float64Array, weights: Float64Array, x: Float64Array): void {
  const n = x.length;
  for (let k = 1; k < n; k++) {
    if (weights[k] === 0) continue;
    const v = a.subarray(k * n, k * n + k);
    let dot = 0;
    for (let j = 0; j < k; j++) dot += v[j]! * x[j]!;
    dot *= weights[k]!;
    for (let j = 0; j < k; j++) x[j]! -= dot * v[j]!;
  }
}

/** More halvings than a float64 has bits between its bounds' difference and its last place. */
const HALVINGS = 120;

/** The eigenvalue with `index` smaller ones, by bisection. */
function eigenvalue(t: Tridiagonal, index: number): number {
  let high = bound(t);
  let low = -high;
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (countBelow(t, middle) > index) high = middle;
    else low = middle;
  }
  return (low + high) / 2;
}

/** No eigenvalue is larger (Gershgorin). */
function bound({ diagonal, beside }: Tridiagonal): number {
  return diagonal.reduce(
    (most, value, i) => Math.max(most, Math.abs(value) + Math.abs(beside[i]!) + Math.abs(beside[i + 1] ?? 0)),
    0,
  );
}

/** How many eigenvalues are below x: the negative pivots of T − x (Sylvester). */
function countBelow({ diagonal, beside }: Tridiagonal, x: number): number {
  let count = 0;
  let pivot = 1;
  for (let i = 0; i < diagonal.length; i++) {
    pivot = diagonal[i]! - x - (beside[i]! * beside[i]!) / pivot;
    if (pivot === 0) pivot = -Number.MIN_VALUE;
    if (pivot < 0) count++;
  }
  return count;
}

/** Two do where eigenvalues lie apart; the third is for those that do not. */
const ITERATIONS = 3;

/** By inverse iteration from a fixed random vector, kept orthogonal to those that were found before. */
function eigenvector(t: Tridiagonal, value: number, found: readonly Float64Array[]): Float64Array {
  const n = t.diagonal.length;
  const x = Float64Array.from(
    { length: n },
    (_, i) => philox([0, 0], [i, found.length, 0, 0])[0]! * 2 ** -31 - 1,
  );
  const smallest = Number.EPSILON * bound(t) || 1;
  normalise(x);
  for (let i = 0; i < ITERATIONS; i++) {
    solve(t, value, x, smallest);
    normalise(x);
    // Twice: where most of x is taken away, what is left has lost its digits.
    for (let again = 0; again < 2; again++) {
      for (const other of found) {
        let dot = 0;
        for (let j = 0; j < n; j++) dot += other[j]! * x[j]!;
        for (let j = 0; j < n; j++) x[j]! -= dot * other[j]!;
      }
      normalise(x);
    }
  }
  return x;
}

function normalise(x: Float64Array): void {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += x[i]! * x[i]!;
  const factor = 1 / Math.sqrt(squares);
  for (let i = 0; i < x.length; i++) x[i]! *= factor;
}

/** x becomes (T − shift)⁻¹·x, by elimination with row exchanges; a pivot of zero is taken as `smallest`. */
function solve({ diagonal, beside }: Tridiagonal, shift: number, x: Float64Array, smallest: number): void {
  const n = x.length;
  // Of each finished row: its pivot, and the two entries to the right of it.
  const pivots = new Float64Array(n);
  const first = new Float64Array(n);
  const second = new Float64Array(n);
  let [pivot, right] = [diagonal[0]! - shift, beside[1] ?? 0];
  for (let i = 0; i + 1 < n; i++) {
    const below = beside[i + 1]!;
    const [nextPivot, nextRight] = [diagonal[i + 1]! - shift, beside[i + 2] ?? 0];
    if (Math.abs(below) > Math.abs(pivot)) {
      const factor = pivot / below;
      [pivots[i], first[i], second[i]] = [below, nextPivot, nextRight];
      [pivot, right] = [right - factor * nextPivot, -factor * nextRight];
      [x[i], x[i + 1]] = [x[i + 1]!, x[i]! - factor * x[i + 1]!];
    } else {
      if (pivot === 0) pivot = smallest;
      const factor = below / pivot;
      [pivots[i], first[i], second[i]] = [pivot, right, 0];
      [pivot, right] = [nextPivot - factor * right, nextRight];
      x[i + 1]! -= factor * x[i]!;
    }
  }
  pivots[n - 1] = pivot || smallest;
  for (let i = n - 1; i >= 0; i--) {
    x[i] = (x[i]! - first[i]! * (x[i + 1] ?? 0) - second[i]! * (x[i + 2] ?? 0)) / pivots[i]!;
  }
}
