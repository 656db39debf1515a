import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./swiglu.ts";

it("d gate and d up equal central differences", () => {
  const [rows, width] = [3, 5];
  const gateUp = sequence(rows * 2 * width, 1).map((value) => 4 * value);
  const dy = sequence(rows * width, 2);
  const expected = centralDifferences((at) => inner(forward(at, width), dy), gateUp);
  expect(relativeError(backward(gateUp, width, dy), expected)).toBeLessThan(1e-6);
});

it("gates with the first half of a row", () => {
  // silu(0) = 0 whatever up is; a large gate passes up through, times the gate.
  expect([...forward(Float64Array.of(0, 50, 7, 2), 2)]).toEqual([0, 100]);
});
