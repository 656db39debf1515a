/** Float64 oracle of shaders/rotary.wgsl, as Transformers writes it: x·cos + rotate_half(x)·sin for each head. */
export interface RotaryShape {
  readonly width: number;
  readonly heads: number;
  readonly headDim: number;
}

/** x [rows, width], positions [rows], cos and sin [positions, headDim / 2] → y [rows, width]. */
export function forward(
  x: Float64Array,
  { width, heads, headDim }: RotaryShape,
  positions: Uint32Array,
  cos: Float64Array,
  sin: Float64Array,
): Float64Array {
  const half = headDim / 2;
  const y = Float64Array.from(x);
  positions.forEach((position, row) => {
    for (let head = 0; head < heads; head++) {
      const start = row * width + head * headDim;
      for (let i = 0; i < headDim; i++) {
        const angle = position * half + (i % half);
        const rotatedHalf = i < half ? -x[start + i + half]! : x[start + i - half]!;
        y[start + i] = x[start + i]! * cos[angle]! + rotatedHalf * sin[angle]!;
      }
    }
  });
  return y;
}

/** dx: the transposed rotation of dy. */
export function backward(
  dy: Float64Array,
  shape: RotaryShape,
  positions: Uint32Array,
  cos: Float64Array,
  sin: Float64Array,
): Float64Array {
  return forward(
    dy,
    shape,
    positions,
    cos,
    sin.map((value) => -value),
  );
}
