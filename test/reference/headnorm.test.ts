import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./headnorm.ts";

const shape = { heads: 3, keyValueHeads: 2, headDim: 4 };
const count = 2 * (3 + 2 * 2) * 4;
const eps = 1e-2;
const x = sequence(count, 1);
const gainQ = sequence(4, 2);
const gainK = sequence(4, 3);
const dy = sequence(count, 4);
const actual = backward(x, gainQ, gainK, shape, eps, dy);

it("dx equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(at, gainQ, gainK, shape, eps), dy), x);
  expect(relativeError(actual.dx, expected)).toBeLessThan(1e-6);
});

it("dgain of the queries equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(x, at, gainK, shape, eps), dy), gainQ);
  expect(relativeError(actual.dgainQ, expected)).toBeLessThan(1e-6);
});

it("dgain of the keys equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(x, gainQ, at, shape, eps), dy), gainK);
  expect(relativeError(actual.dgainK, expected)).toBeLessThan(1e-6);
});

it("leaves values as they are", () => {
  const y = forward(x, gainQ, gainK, shape, eps);
  expect([...y.subarray(20, 28)]).toEqual([...x.subarray(20, 28)]);
  expect(y[19]).not.toBe(x[19]);
});
