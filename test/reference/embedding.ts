/**
 * Float64 oracle of shaders/embedding.wgsl. ids [rows], table [ids, width], soFar [rows, width] or absent.
 * Rows that are replaced are a table with other rows.
 */
export function forward(
  ids: Uint32Array,
  table: Float64Array,
  width: number,
  soFar?: Float64Array,
): Float64Array {
  const y = new Float64Array(ids.length * width);
  ids.forEach((id, row) => {
    for (let i = 0; i < width; i++) {
      y[row * width + i] = table[id * width + i]! + (soFar?.[row * width + i] ?? 0);
    }
  });
  return y;
}

/** The table with row i of `rows` in the place of row indices[i]. */
export function replaced(
  table: Float64Array,
  width: number,
  indices: readonly number[],
  rows: Float64Array,
): Float64Array {
  const whole = Float64Array.from(table);
  for (const [i, index] of indices.entries()) {
    whole.set(rows.subarray(i * width, (i + 1) * width), index * width);
  }
  return whole;
}

/** d soFar: what has been looked up is only added to it. */
export function backward(dy: Float64Array): Float64Array {
  return Float64Array.from(dy);
}

/** dtable [count, width]: what every row of an id gives, in that id's row. */
export function backwardTable(
  ids: Uint32Array,
  dy: Float64Array,
  count: number,
  width: number,
): Float64Array {
  const dtable = new Float64Array(count * width);
  dy.forEach((slope, i) => {
    dtable[ids[Math.floor(i / width)]! * width + (i % width)]! += slope;
  });
  return dtable;
}

/** The gradient of rows that replace others: those rows of dtable. */
export function rowsOf(dtable: Float64Array, width: number, indices: readonly number[]): Float64Array {
  return Float64Array.from(
    indices.flatMap((index) => [...dtable.subarray(index * width, (index + 1) * width)]),
  );
}
