import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./columns.ts";

it("both gradients equal central differences", () => {
  const [rows, width, columns] = [3, 5, [4, 0]] as const;
  const z = sequence(rows * width, 1);
  const p = sequence(rows * columns.length, 2);
  const dy = sequence(rows * width, 3);
  const { dz, dp } = backward(dy, width, columns);
  const ofZ = centralDifferences((at) => inner(forward(at, p, width, columns), dy), z);
  const ofP = centralDifferences((at) => inner(forward(z, at, width, columns), dy), p);
  expect(relativeError(dz, ofZ)).toBeLessThan(1e-6);
  expect(relativeError(dp, ofP)).toBeLessThan(1e-6);
});
