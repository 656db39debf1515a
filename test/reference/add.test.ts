import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./add.ts";

const [a, b, dy] = [sequence(9, 1), sequence(9, 2), sequence(9, 3)];

it("da equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(at, b), dy), a);
  expect(relativeError(backward(dy).da, expected)).toBeLessThan(1e-6);
});

it("db equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(a, at), dy), b);
  expect(relativeError(backward(dy).db, expected)).toBeLessThan(1e-6);
});
