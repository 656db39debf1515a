/** Float64 oracle of shaders/lora_embedding.wgsl. ids [rows], A [rank, count], p, dp [rows, rank]. */
export function forward(ids: Uint32Array, a: Float64Array, count: number): Float64Array {
  const rank = a.length / count;
  return Float64Array.from({ length: ids.length * rank }, (_, i) => {
    const id = ids[Math.floor(i / rank)]!;
    return a[(i % rank) * count + id]!;
  });
}

/** dA: what every row of an id gives, in that id's column. */
export function backward(ids: Uint32Array, dp: Float64Array, count: number): Float64Array {
  const rank = dp.length / ids.length;
  const da = new Float64Array(rank * count);
  dp.forEach((slope, i) => {
    da[(i % rank) * count + ids[Math.floor(i / rank)]!]! += slope;
  });
  return da;
}
