import { uniform } from "./random.ts";

/** Central differences in float64, against which every oracle's backward is held. */
export function centralDifferences(
  scalar: (x: Float64Array) => number,
  x: Float64Array,
  step = 1e-5,
): Float64Array {
  return x.map((value, i) => {
    const at = Float64Array.from(x);
    at[i] = value + step;
    const above = scalar(at);
    at[i] = value - step;
    return (above - scalar(at)) / (2 * step);
  });
}

/** Σ a·b: turns an output into a scalar whose gradient with respect to the output is `b`. */
export function inner(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

/** Largest difference over largest value. Throws where `expected` is zero everywhere. */
export function relativeError(actual: Float64Array, expected: Float64Array): number {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) throw new Error("expected values are zero everywhere, which proves nothing");
  return expected.reduce((most, value, i) => Math.max(most, Math.abs(value - actual[i]!)), 0) / largest;
}

/** Values in about [-1, 1), seeded, for float64 oracles. */
export function sequence(count: number, seed: number): Float64Array {
  const next = uniform(seed);
  return Float64Array.from({ length: count }, () => (next() - 0.5) * 2);
}
