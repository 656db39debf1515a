import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./rotary.ts";

const shape = { width: 15, heads: 2, headDim: 6 };
const positions = Uint32Array.of(3, 0, 4);
const x = sequence(positions.length * shape.width, 1);
const dy = sequence(positions.length * shape.width, 2);

it("dx equals central differences, for tables that are no rotation too (yarn scales them)", () => {
  const cos = sequence(5 * 3, 3);
  const sin = sequence(5 * 3, 4);
  const expected = centralDifferences((at) => inner(forward(at, shape, positions, cos, sin), dy), x);
  expect(relativeError(backward(dy, shape, positions, cos, sin), expected)).toBeLessThan(1e-6);
});

it("is undone by its backward where the tables are a rotation", () => {
  const angles = sequence(5 * 3, 5);
  const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
  const there = forward(x, shape, positions, cos, sin);
  expect(relativeError(there, x)).toBeGreaterThan(0.1);
  expect(relativeError(backward(there, shape, positions, cos, sin), x)).toBeLessThan(1e-12);
});

it("pairs feature i with i + headDim / 2: a quarter turn takes the first half to the second", () => {
  const one = Float64Array.of(1, 2, 3, 4);
  const turned = forward(
    one,
    { width: 4, heads: 1, headDim: 4 },
    Uint32Array.of(0),
    Float64Array.of(0, 0),
    Float64Array.of(1, 1),
  );
  expect([...turned]).toEqual([-3, -4, 1, 2]);
});
