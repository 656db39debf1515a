/** Matrices as lists of vectors; sums are in float64. */

/** Row-major. */
export interface Matrix {
  readonly values: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

export type Vector = Float32Array | Float64Array;

/** Views, not copies. */
export function rowsOf({ values, rows, columns }: Matrix): Float32Array[] {
  return Array.from({ length: rows }, (_, i) => values.subarray(i * columns, (i + 1) * columns));
}

export function columnsOf({ values, rows, columns }: Matrix): Float32Array[] {
  const vectors = Array.from({ length: columns }, () => new Float32Array(rows));
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) vectors[j]![i] = values[i * columns + j]!;
  }
  return vectors;
}

/** Xᵀ·w: the rows of X, weighted. */
export function combined(rows: readonly Vector[], weights: Vector): Float64Array {
  const sum = new Float64Array(rows[0]!.length);
  rows.forEach((row, i) => {
    const weight = weights[i]!;
    for (let k = 0; k < sum.length; k++) sum[k]! += weight * row[k]!;
  });
  return sum;
}

/** X·v: each row of X times v. */
export function projected(rows: readonly Vector[], vector: Vector): Float64Array {
  const products = new Float64Array(rows.length);
  rows.forEach((row, i) => {
    let sum = 0;
    for (let k = 0; k < row.length; k++) sum += row[k]! * vector[k]!;
    products[i] = sum;
  });
  return products;
}
