import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./layernorm.ts";

const [rows, width, eps] = [3, 7, 1e-2];
const x = sequence(rows * width, 1);
const gain = sequence(width, 2);
const bias = sequence(width, 3);
const dy = sequence(rows * width, 4);
const actual = backward(x, gain, eps, dy);

it("dx equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(at, gain, bias, eps), dy), x);
  expect(relativeError(actual.dx, expected)).toBeLessThan(1e-6);
});

it("dgain equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(x, at, bias, eps), dy), gain);
  expect(relativeError(actual.dgain, expected)).toBeLessThan(1e-6);
});

it("dbias equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(x, gain, at, eps), dy), bias);
  expect(relativeError(actual.dbias, expected)).toBeLessThan(1e-6);
});

it("gives each row the bias's mean and the gain's spread", () => {
  const one = new Float64Array(width).fill(1);
  const y = forward(x, one, new Float64Array(width).fill(2), 0).subarray(0, width);
  const mean = y.reduce((sum, value) => sum + value, 0) / width;
  const variance = y.reduce((sum, value) => sum + (value - 2) ** 2, 0) / width;
  expect(mean).toBeCloseTo(2, 12);
  expect(variance).toBeCloseTo(1, 12);
});
