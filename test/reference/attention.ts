/**
 * Float64 oracle of shaders/attention.wgsl. q, dq [queries, width] with the query heads from column `start`;
 * kv, dkv [keys, width] with key heads from `keyStart` and value heads from `valueStart`; y, dy
 * [queries, heads · headDim]; keyRange [queries, 2], each (first, end).
 */
export interface AttentionShape {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly q: { readonly width: number; readonly start: number };
  readonly kv: { readonly width: number; readonly keyStart: number; readonly valueStart: number };
  readonly keyRange: ArrayLike<number>;
}

/** Softmax of one query's scores over the keys that it sees, with where everything lies. */
function* pairs(shape: AttentionShape, q: Float64Array, kv: Float64Array) {
  const { heads, keyValueHeads, headDim, scale, keyRange } = shape;
  for (let query = 0; query < keyRange.length / 2; query++) {
    for (let head = 0; head < heads; head++) {
      const sharedHead = Math.floor(head / (heads / keyValueHeads)) * headDim;
      const queryAt = query * shape.q.width + shape.q.start + head * headDim;
      const seen = [];
      for (let key = keyRange[2 * query]!; key < keyRange[2 * query + 1]!; key++) {
        const keyAt = key * shape.kv.width + shape.kv.keyStart + sharedHead;
        const valueAt = key * shape.kv.width + shape.kv.valueStart + sharedHead;
        seen.push({ keyAt, valueAt, score: scale * dot(q, queryAt, kv, keyAt, headDim), p: 0 });
      }
      const highest = Math.max(...seen.map(({ score }) => score));
      const sum = seen.reduce((total, { score }) => total + Math.exp(score - highest), 0);
      for (const pair of seen) pair.p = Math.exp(pair.score - highest) / sum;
      yield { queryAt, outputAt: (query * heads + head) * headDim, seen };
    }
  }
}

function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += a[aAt + i]! * b[bAt + i]!;
  return sum;
}

export function forward(shape: AttentionShape, q: Float64Array, kv: Float64Array): Float64Array {
  const { heads, headDim, keyRange } = shape;
  const y = new Float64Array((keyRange.length / 2) * heads * headDim);
  for (const { outputAt, seen } of pairs(shape, q, kv)) {
    for (const { valueAt, p } of seen) {
      for (let i = 0; i < headDim; i++) y[outputAt + i]! += p * kv[valueAt + i]!;
    }
  }
  return y;
}

/** Where q and kv are one value, its gradient is dq + dkv. */
export function backward(
  shape: AttentionShape,
  q: Float64Array,
  kv: Float64Array,
  dy: Float64Array,
): { dq: Float64Array; dkv: Float64Array } {
  const { headDim, scale } = shape;
  const dq = new Float64Array(q.length);
  const dkv = new Float64Array(kv.length);
  for (const { queryAt, outputAt, seen } of pairs(shape, q, kv)) {
    const dp = seen.map(({ valueAt }) => dot(dy, outputAt, kv, valueAt, headDim));
    const mean = seen.reduce((sum, { p }, j) => sum + p * dp[j]!, 0);
    seen.forEach(({ keyAt, valueAt, p }, j) => {
      const ds = scale * p * (dp[j]! - mean);
      for (let i = 0; i < headDim; i++) {
        dq[queryAt + i]! += ds * kv[keyAt + i]!;
        dkv[keyAt + i]! += ds * q[queryAt + i]!;
        dkv[valueAt + i]! += p * dy[outputAt + i]!;
      }
    });
  }
  return { dq, dkv };
}
