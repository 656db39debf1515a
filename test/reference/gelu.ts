/** Float64 oracle of shaders/gelu.wgsl. */
export type GeluKind = "exact" | "tanh";

export function forward(x: Float64Array, kind: GeluKind): Float64Array {
  return x.map((value) => value * gate(value, kind).p);
}

export function backward(x: Float64Array, kind: GeluKind, dy: Float64Array): Float64Array {
  return x.map((value, i) => {
    const { p, slope } = gate(value, kind);
    return dy[i]! * (p + value * slope);
  });
}

function gate(x: number, kind: GeluKind): { p: number; slope: number } {
  if (kind === "exact") {
    return { p: normalBelow(x), slope: Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI) };
  }
  const tanh = Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3));
  const slope = Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x ** 2);
  return { p: 0.5 * (1 + tanh), slope: tanh * tanh === 1 ? 0 : 0.5 * (1 - tanh * tanh) * slope };
}

/** Φ(x): erf's series about 0 (all terms of one sign) below |x| = 3, and the tail's continued fraction above. */
export function normalBelow(x: number): number {
  const size = Math.abs(x);
  const bell = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (size < 3) {
    let term = x;
    let sum = x;
    for (let k = 1; k < 80; k++) {
      term *= (x * x) / (2 * k + 1);
      sum += term;
    }
    return 0.5 + bell * sum;
  }
  let fraction = size;
  for (let k = 200; k >= 1; k--) fraction = size + k / fraction;
  const tail = bell / fraction;
  return x < 0 ? tail : 1 - tail;
}
