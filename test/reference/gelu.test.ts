import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward, normalBelow } from "./gelu.ts";

it.each(["exact", "tanh"] as const)("dx equals central differences (%s)", (kind) => {
  const x = sequence(40, 1).map((value) => 4 * value);
  const dy = sequence(40, 2);
  const expected = centralDifferences((at) => inner(forward(at, kind), dy), x);
  expect(relativeError(backward(x, kind, dy), expected)).toBeLessThan(1e-6);
});

// Computed with mpmath's ncdf at 30 digits; 3 is where the series hands over to the fraction.
it.each([
  [-8, 6.220960574271784e-16],
  [-5.5, 1.8989562465887718e-8],
  [-3, 0.0013498980316300946],
  [-1.3, 0.09680048458561033],
  [0.4, 0.6554217416103242],
  [2.7, 0.9965330261969594],
  [4, 0.9999683287581669],
])("Φ(%f) is %f to 13 digits", (x, expected) => {
  expect(Math.abs(normalBelow(x) / expected - 1)).toBeLessThan(1e-13);
});
