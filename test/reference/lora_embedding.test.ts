import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./lora_embedding.ts";

const ids = Uint32Array.of(3, 0, 3);

it("takes the columns of A that ids name", () => {
  const a = Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  expect([...forward(ids, a, 4)]).toEqual([4, 8, 1, 5, 4, 8]);
});

it("dA equals central differences, with an id that comes again", () => {
  const a = sequence(2 * 4, 1);
  const dp = sequence(3 * 2, 2);
  const wanted = centralDifferences((at) => inner(forward(ids, at, 4), dp), a);
  expect(relativeError(backward(ids, dp, 4), wanted)).toBeLessThan(1e-6);
});
