/** Float64 oracle of shaders/rmsnorm.wgsl. x, dy [rows, width], gain [width]. */
export function forward(
  x: Float64Array,
  gain: Float64Array,
  eps: number,
): { y: Float64Array; r: Float64Array } {
  const width = gain.length;
  const rows = x.length / width;
  const y = new Float64Array(x.length);
  const r = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += x[row * width + i]! ** 2;
    r[row] = 1 / Math.sqrt(squares / width + eps);
    for (let i = 0; i < width; i++) y[row * width + i] = gain[i]! * x[row * width + i]! * r[row]!;
  }
  return { y, r };
}

export function backward(
  x: Float64Array,
  gain: Float64Array,
  eps: number,
  dy: Float64Array,
): { dx: Float64Array; dgain: Float64Array } {
  const width = gain.length;
  const { r } = forward(x, gain, eps);
  const dx = new Float64Array(x.length);
  const dgain = new Float64Array(width);
  r.forEach((scale, row) => {
    let mean = 0;
    for (let i = 0; i < width; i++) {
      const at = row * width + i;
      mean += (gain[i]! * dy[at]! * x[at]! * scale) / width;
      dgain[i]! += dy[at]! * x[at]! * scale;
    }
    for (let i = 0; i < width; i++) {
      const at = row * width + i;
      dx[at] = scale * (gain[i]! * dy[at]! - x[at]! * scale * mean);
    }
  });
  return { dx, dgain };
}
