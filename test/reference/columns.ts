/** Float64 oracle of shaders/columns.wgsl. z, dz [rows, width]; p, dp [rows, count]; columns [count]. */
export function forward(
  z: Float64Array,
  p: Float64Array,
  width: number,
  columns: readonly number[],
): Float64Array {
  const out = Float64Array.from(z);
  p.forEach((value, i) => {
    out[Math.floor(i / columns.length) * width + columns[i % columns.length]!] = value;
  });
  return out;
}

/** Of the columns that were put in, p has the gradient and z none. */
export function backward(
  dy: Float64Array,
  width: number,
  columns: readonly number[],
): { dz: Float64Array; dp: Float64Array } {
  const rows = dy.length / width;
  const dp = Float64Array.from({ length: rows * columns.length }, (_, i) => {
    return dy[Math.floor(i / columns.length) * width + columns[i % columns.length]!]!;
  });
  const dz = dy.map((slope, i) => (columns.includes(i % width) ? 0 : slope));
  return { dz, dp };
}
