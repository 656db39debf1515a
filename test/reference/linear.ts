/** Float64 oracle of shaders/linear.wgsl. x [rows, width], w [out, width], bias [out], y and dy [rows, out]. */
export interface LinearShape {
  readonly rows: number;
  readonly width: number;
  readonly out: number;
}

export function forward(
  { rows, width, out }: LinearShape,
  x: Float64Array,
  w: Float64Array,
  bias?: Float64Array,
): Float64Array {
  const y = new Float64Array(rows * out);
  for (let t = 0; t < rows; t++) {
    for (let o = 0; o < out; o++) {
      let sum = bias?.[o] ?? 0;
      for (let k = 0; k < width; k++) sum += x[t * width + k]! * w[o * width + k]!;
      y[t * out + o] = sum;
    }
  }
  return y;
}

export function backward(
  { rows, width, out }: LinearShape,
  x: Float64Array,
  w: Float64Array,
  dy: Float64Array,
): { dx: Float64Array; dw: Float64Array; dbias: Float64Array } {
  const dx = new Float64Array(rows * width);
  const dw = new Float64Array(out * width);
  const dbias = new Float64Array(out);
  for (let t = 0; t < rows; t++) {
    for (let o = 0; o < out; o++) {
      const d = dy[t * out + o]!;
      dbias[o]! += d;
      for (let k = 0; k < width; k++) {
        dx[t * width + k]! += d * w[o * width + k]!;
        dw[o * width + k]! += d * x[t * width + k]!;
      }
    }
  }
  return { dx, dw, dbias };
}
