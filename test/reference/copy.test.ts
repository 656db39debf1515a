import { expect, it } from "vitest";
import { sequence } from "../harness/differences.ts";
import { forward } from "./copy.ts";

it("returns equal values that changing the original leaves alone", () => {
  const x = sequence(5, 1);
  const y = forward(x);
  expect([...y]).toEqual([...x]);
  x[0] = 9;
  expect(y[0]).not.toBe(9);
});
