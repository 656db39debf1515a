/**
 * Q of X = Q·R, by Householder's reflections with the signs of LAPACK, which PyTorch calls: R's diagonal has the sign
 * opposite to what it reflects, and a column that is there already stays as it is. Vectors are columns, no more of
 * them than they are long.
 */
export function orthonormal(columns: readonly Float64Array[]): Float64Array[] {
  const rest = columns.map((column) => column.slice());
  const mirrors = rest.map((column, k) => {
    const mirror = mirrorOf(column, k);
    for (const later of rest.slice(k + 1)) reflect(later, mirror, k);
    return mirror;
  });
  return columns.map((column, j) => {
    const q = new Float64Array(column.length);
    q[j] = 1;
    for (let k = j; k >= 0; k--) reflect(q, mirrors[k], k);
    return q;
  });
}

/** v with ‖v‖² = 2 such that x − v·(v·x) is zero below row k; none where x is zero there. */
function mirrorOf(x: Float64Array, k: number): Float64Array | undefined {
  const v = x.slice();
  v.fill(0, 0, k);
  let below = 0;
  for (let i = k + 1; i < v.length; i++) below += v[i]! * v[i]!;
  if (below === 0) return undefined;
  const length = Math.sqrt(below + v[k]! * v[k]!);
  v[k]! += v[k]! < 0 ? -length : length;
  const factor = Math.sqrt(2 / (below + v[k]! * v[k]!));
  return v.map((value) => factor * value);
}

/** x − v·(v·x), in place. v is zero above row k. */
function reflect(x: Float64Array, v: Float64Array | undefined, k: number): void {
  if (!v) return;
  let dot = 0;
  for (let i = k; i < x.length; i++) dot += v[i]! * x[i]!;
  for (let i = k; i < x.length; i++) x[i]! -= dot * v[i]!;
}
