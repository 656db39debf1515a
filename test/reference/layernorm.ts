/** Float64 oracle of shaders/layernorm.wgsl. x, dy [rows, width]; gain, bias [width]. */
export function forward(x: Float64Array, gain: Float64Array, bias: Float64Array, eps: number): Float64Array {
  const width = gain.length;
  const normed = normalize(x, width, eps).xhat;
  return normed.map((value, at) => gain[at % width]! * value + bias[at % width]!);
}

export function backward(
  x: Float64Array,
  gain: Float64Array,
  eps: number,
  dy: Float64Array,
): { dx: Float64Array; dgain: Float64Array; dbias: Float64Array } {
  const width = gain.length;
  const { xhat, r } = normalize(x, width, eps);
  const dx = new Float64Array(x.length);
  const dgain = new Float64Array(width);
  const dbias = new Float64Array(width);
  r.forEach((scale, row) => {
    let mean = 0;
    let product = 0;
    for (let i = 0; i < width; i++) {
      const at = row * width + i;
      mean += (gain[i]! * dy[at]!) / width;
      product += (gain[i]! * dy[at]! * xhat[at]!) / width;
      dgain[i]! += dy[at]! * xhat[at]!;
      dbias[i]! += dy[at]!;
    }
    for (let i = 0; i < width; i++) {
      const at = row * width + i;
      dx[at] = scale * (gain[i]! * dy[at]! - mean - xhat[at]! * product);
    }
  });
  return { dx, dgain, dbias };
}

function normalize(x: Float64Array, width: number, eps: number): { xhat: Float64Array; r: Float64Array } {
  const rows = x.length / width;
  const xhat = new Float64Array(x.length);
  const r = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * width, (row + 1) * width);
    const mean = values.reduce((sum, value) => sum + value, 0) / width;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
    r[row] = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < width; i++) xhat[row * width + i] = (values[i]! - mean) * r[row]!;
  }
  return { xhat, r };
}
