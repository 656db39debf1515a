/**
 * Float64 oracle of shaders/dora.wgsl, and of a whole DoRA layer, by way of the dense change of the matrix.
 * W [out, width]; A [rank, width], B [out, rank]; m, n, bias [out]; x, x̃ [rows, width]; y, z [rows, out].
 */
import type { Sizes } from "./lora.ts";

export interface Factors {
  readonly rank: number;
  readonly scale: number;
  readonly a: Float64Array;
  readonly b: Float64Array;
}

/** W + s·B·A. */
export function changed(w: Float64Array, { rank, scale, a, b }: Factors, { width }: Sizes): Float64Array {
  return w.map((value, i) => {
    const [o, k] = [Math.floor(i / width), i % width];
    let sum = 0;
    for (let j = 0; j < rank; j++) sum += b[o * rank + j]! * a[j * width + k]!;
    return value + scale * sum;
  });
}

/** The norm of each row of W + s·B·A, or of W alone. */
export function norms(w: Float64Array, factors: Factors | undefined, sizes: Sizes): Float64Array {
  const whole = factors ? changed(w, factors, sizes) : w;
  return Float64Array.from({ length: sizes.out }, (_, o) =>
    Math.hypot(...whole.subarray(o * sizes.width, (o + 1) * sizes.width)),
  );
}

function product(x: Float64Array, w: Float64Array, { width, out }: Sizes): Float64Array {
  const y = new Float64Array((x.length / width) * out);
  return y.map((_, i) => {
    const [t, o] = [Math.floor(i / out), i % out];
    let sum = 0;
    for (let k = 0; k < width; k++) sum += x[t * width + k]! * w[o * width + k]!;
    return sum;
  });
}

/** (m / n) ⊙ z; without m and n, z. */
export function forward(z: Float64Array, m: Float64Array, n: Float64Array): Float64Array {
  return z.map((value, i) => (value * m[i % m.length]!) / n[i % m.length]!);
}

/** dz = (m / n) ⊙ dy and dm = Σ_rows dy ⊙ z / n: n is no function of anything. */
export function backward(
  z: Float64Array,
  m: Float64Array,
  n: Float64Array,
  dy: Float64Array,
): { dz: Float64Array; dm: Float64Array } {
  const dm = new Float64Array(m.length);
  dy.forEach((slope, i) => {
    dm[i % m.length]! += (slope * z[i]!) / n[i % m.length]!;
  });
  return { dz: forward(dy, m, n), dm };
}

export interface Layer extends Factors {
  readonly w: Float64Array;
  readonly bias: Float64Array;
  readonly m: Float64Array;
  /** Given, since it counts as a constant. */
  readonly n: Float64Array;
}

/** x·Wᵀ + bias + (m/n − 1) ⊙ x̃·Wᵀ + (m/n) ⊙ s·x̃·Aᵀ·Bᵀ. */
export function layer(x: Float64Array, dropped: Float64Array, one: Layer, sizes: Sizes): Float64Array {
  const { m, n, w, bias } = one;
  const [plain, rest] = [product(x, w, sizes), product(dropped, w, sizes)];
  const stretched = forward(product(dropped, changed(w, one, sizes), sizes), m, n);
  return plain.map((value, i) => value + bias[i % sizes.out]! - rest[i]! + stretched[i]!);
}

/** dx is what comes by x itself, ddropped what comes by x̃. */
export function layerBackward(
  x: Float64Array,
  dropped: Float64Array,
  one: Layer,
  sizes: Sizes,
  dy: Float64Array,
): Record<"dx" | "ddropped" | "da" | "db" | "dm" | "dbias", Float64Array> {
  const { m, n, w, rank, scale, a, b } = one;
  const { width, out } = sizes;
  const whole = changed(w, one, sizes);
  const { dz, dm } = backward(product(dropped, whole, sizes), m, n, dy);
  const dx = new Float64Array(x.length);
  const ddropped = new Float64Array(x.length);
  const da = new Float64Array(a.length);
  const db = new Float64Array(b.length);
  const dbias = new Float64Array(out);
  dy.forEach((slope, i) => {
    const [t, o] = [Math.floor(i / out), i % out];
    dbias[o]! += slope;
    for (let k = 0; k < width; k++) {
      dx[t * width + k]! += slope * w[o * width + k]!;
      ddropped[t * width + k]! += dz[i]! * whole[o * width + k]! - slope * w[o * width + k]!;
      for (let j = 0; j < rank; j++) {
        const ofChange = scale * dz[i]! * dropped[t * width + k]!;
        da[j * width + k]! += ofChange * b[o * rank + j]!;
        db[o * rank + j]! += ofChange * a[j * width + k]!;
      }
    }
  });
  return { dx, ddropped, da, db, dm, dbias };
}
