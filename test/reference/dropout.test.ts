import { describe, expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, type DropoutDraw, forward, mask } from "./dropout.ts";

const draw: DropoutDraw = {
  p: 0.3,
  seed: 42,
  step: 7,
  module: 3,
  rowInStep: Uint32Array.of(0, 0, 1, 1, 1),
  positions: Uint32Array.of(0, 1, 0, 1, 2),
};
const width = 7;

it("dx equals central differences", () => {
  const x = sequence(5 * width, 1);
  const dy = sequence(5 * width, 2);
  const expected = centralDifferences((at) => inner(forward(at, draw, width), dy), x);
  expect(relativeError(backward(dy, draw, width), expected)).toBeLessThan(1e-6);
});

describe("a mask", () => {
  /** Correlation of two masks; about 0 ± 1/√count where they are independent. */
  const correlation = (a: Float64Array, b: Float64Array): number => {
    const mean = (values: Float64Array): number => values.reduce((sum, v) => sum + v, 0) / values.length;
    const [meanA, meanB] = [mean(a), mean(b)];
    const product = mean(a.map((value, i) => (value - meanA) * (b[i]! - meanB)));
    return product / Math.sqrt(meanA * (1 - meanA) * meanB * (1 - meanB));
  };
  const tokens = 100;
  const wide = 400;
  const large: DropoutDraw = {
    ...draw,
    rowInStep: new Uint32Array(tokens).fill(2),
    positions: Uint32Array.from({ length: tokens }, (_, i) => i),
  };
  const base = mask(large, wide);

  it.each([0.05, 0.3, 0.9])("drops a share of %f", (p) => {
    const kept = mask({ ...large, p }, wide).reduce((sum, value) => sum + value, 0);
    // Five standard deviations of a binomial of 40 000.
    expect(Math.abs(kept / base.length - (1 - p))).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / base.length));
  });

  it.each([
    ["seed", { ...large, seed: 43 }],
    ["step", { ...large, step: 8 }],
    ["module", { ...large, module: 4 }],
    ["row", { ...large, rowInStep: large.rowInStep.map((row) => row + 1) }],
    ["position", { ...large, positions: large.positions.map((position) => position + 1) }],
  ])("is another, and independent, for another %s", (_, other) => {
    expect(Math.abs(correlation(base, mask(other, wide)))).toBeLessThan(5 / Math.sqrt(base.length));
  });

  it("differs from feature to feature", () => {
    const shifted = Float64Array.from(base, (_, i) => base[i - (i % wide) + ((i + 1) % wide)]!);
    expect(Math.abs(correlation(base, shifted))).toBeLessThan(5 / Math.sqrt(base.length));
  });

  it("does not depend on where a row lies in its micro-batch", () => {
    const alone: DropoutDraw = {
      ...draw,
      rowInStep: draw.rowInStep.slice(2),
      positions: draw.positions.slice(2),
    };
    expect([...mask(alone, width)]).toEqual([...mask(draw, width).subarray(2 * width)]);
  });
});
