import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./linear.ts";

const shape = { rows: 3, width: 5, out: 4 };
const x = sequence(15, 1);
const w = sequence(20, 2);
const bias = sequence(4, 3);
const dy = sequence(12, 4);
const gradients = backward(shape, x, w, dy);

it.each([
  ["dx", gradients.dx, (at: Float64Array) => forward(shape, at, w, bias), x],
  ["dW", gradients.dw, (at: Float64Array) => forward(shape, x, at, bias), w],
  ["dbias", gradients.dbias, (at: Float64Array) => forward(shape, x, w, at), bias],
])("%s equals central differences", (_, gradient, y, at) => {
  expect(
    relativeError(
      gradient,
      centralDifferences((moved) => inner(y(moved), dy), at),
    ),
  ).toBeLessThan(1e-6);
});
