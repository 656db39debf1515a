import { expect, it } from "vitest";
import { append } from "./cache.ts";

it("writes the wanted columns of each row into its slot, and leaves the others and what it was given", () => {
  const cache = Float64Array.of(1, 2, 3, 4, 5, 6);
  const x = Float64Array.of(10, 11, 12, 20, 21, 22);
  const after = append(cache, { xWidth: 3, start: 1, width: 2 }, x, Uint32Array.of(2, 0));
  expect([...after]).toEqual([21, 22, 3, 4, 11, 12]);
  expect([...cache]).toEqual([1, 2, 3, 4, 5, 6]);
});
