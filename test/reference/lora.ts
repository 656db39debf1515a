/**
 * Float64 oracle of shaders/lora.wgsl, by way of the dense change of the matrix: ΔW = s·(B·A + B₀·A₀) in the rows of
 * each module, and s·bias beside it. x, dx [rows, width]; y, dy [rows, out].
 */
export interface Factors {
  readonly rowStart: number;
  /** lora_alpha / r. */
  readonly scale: number;
  /** A [rank, width], B [height, rank]. */
  readonly rank: number;
  readonly a: Float64Array;
  readonly b: Float64Array;
  /** [height] */
  readonly bias?: Float64Array;
  /** A second pair of the same shapes, which adds its own change and does not train. */
  readonly start?: { readonly a: Float64Array; readonly b: Float64Array };
}

export interface Sizes {
  readonly width: number;
  readonly out: number;
}

function change(modules: readonly Factors[], { width, out }: Sizes): Float64Array {
  const delta = new Float64Array(out * width);
  for (const { rowStart, scale, rank, a, b, start } of modules) {
    for (let o = 0; o < b.length / rank; o++) {
      for (let k = 0; k < width; k++) {
        let sum = 0;
        for (let j = 0; j < rank; j++) {
          sum += b[o * rank + j]! * a[j * width + k]!;
          if (start) sum += start.b[o * rank + j]! * start.a[j * width + k]!;
        }
        delta[(rowStart + o) * width + k]! += scale * sum;
      }
    }
  }
  return delta;
}

/** y + x·ΔWᵀ + s·bias. */
export function forward(
  x: Float64Array,
  y: Float64Array,
  modules: readonly Factors[],
  sizes: Sizes,
): Float64Array {
  const { width, out } = sizes;
  const delta = change(modules, sizes);
  return y.map((value, i) => {
    const [t, o] = [Math.floor(i / out), i % out];
    let sum = value;
    for (let k = 0; k < width; k++) sum += x[t * width + k]! * delta[o * width + k]!;
    for (const { rowStart, scale, bias } of modules) sum += scale * (bias?.[o - rowStart] ?? 0);
    return sum;
  });
}

/** dx = dy·ΔW; of dΔW = dyᵀ·x each factor takes dA = s·Bᵀ·dΔW and dB = s·dΔW·Aᵀ; dbias = s·Σ_t dy. dy also is the gradient of y. */
export function backward(
  x: Float64Array,
  modules: readonly Factors[],
  sizes: Sizes,
  dy: Float64Array,
): { dx: Float64Array; da: Float64Array[]; db: Float64Array[]; dbias: Float64Array[] } {
  const { width, out } = sizes;
  const delta = change(modules, sizes);
  const dx = new Float64Array(x.length);
  const ddelta = new Float64Array(out * width);
  dy.forEach((slope, i) => {
    const [t, o] = [Math.floor(i / out), i % out];
    for (let k = 0; k < width; k++) {
      dx[t * width + k]! += slope * delta[o * width + k]!;
      ddelta[o * width + k]! += slope * x[t * width + k]!;
    }
  });
  const da: Float64Array[] = [];
  const db: Float64Array[] = [];
  for (const { rowStart, scale, rank, a, b } of modules) {
    const ofA = new Float64Array(a.length);
    const ofB = new Float64Array(b.length);
    for (let o = 0; o < b.length / rank; o++) {
      for (let j = 0; j < rank; j++) {
        for (let k = 0; k < width; k++) {
          const slope = scale * ddelta[(rowStart + o) * width + k]!;
          ofA[j * width + k]! += slope * b[o * rank + j]!;
          ofB[o * rank + j]! += slope * a[j * width + k]!;
        }
      }
    }
    da.push(ofA);
    db.push(ofB);
  }
  const dbias = modules.map(({ rowStart, scale, b, rank }) =>
    Float64Array.from({ length: b.length / rank }, (_, o) => {
      let sum = 0;
      for (let at = rowStart + o; at < dy.length; at += out) sum += scale * dy[at]!;
      return sum;
    }),
  );
  return { dx, da, db, dbias };
}
