/** Float64 oracle of shaders/embedding.wgsl. ids [rows], table [ids, width], soFar [rows, width] or absent. */
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

/** d soFar: what has been looked up is only added to it. */
export function backward(dy: Float64Array): Float64Array {
  return Float64Array.from(dy);
}
