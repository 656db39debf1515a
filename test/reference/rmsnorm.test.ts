import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./rmsnorm.ts";

const [rows, width, eps] = [3, 7, 1e-5];
const x = sequence(rows * width, 1);
const gain = sequence(width, 2);
const dy = sequence(rows * width, 3);

it("dx equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(at, gain, eps).y, dy), x);
  expect(relativeError(backward(x, gain, eps, dy).dx, expected)).toBeLessThan(1e-6);
});

it("dgain equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(x, at, eps).y, dy), gain);
  expect(relativeError(backward(x, gain, eps, dy).dgain, expected)).toBeLessThan(1e-6);
});
