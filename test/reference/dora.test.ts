import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward, type Layer, layer, layerBackward, norms } from "./dora.ts";

const sizes = { width: 5, out: 4 };
const rows = 3;
const w = sequence(20, 1);
const factors = { rank: 2, scale: 1.5, a: sequence(10, 2), b: sequence(8, 3) };
const m = sequence(4, 4);
const one: Layer = { ...factors, w, m, bias: sequence(4, 5), n: norms(w, factors, sizes) };
const x = sequence(rows * 5, 6);
const dropped = x.map((value, i) => (i % 3 === 0 ? 0 : 1.5 * value));
const dy = sequence(rows * 4, 7);

it("norms are those of W + s·B·A, row by row", () => {
  const rank1 = { rank: 1, scale: 2, a: Float64Array.of(1, 0), b: Float64Array.of(1, -1) };
  const found = norms(Float64Array.of(1, 4, 2, 7), rank1, { width: 2, out: 2 });
  expect([...found]).toEqual([5, 7]);
});

it("dz and dm equal central differences", () => {
  const z = sequence(rows * 4, 8);
  const { dz, dm } = backward(z, m, one.n, dy);
  expect(
    relativeError(
      dz,
      centralDifferences((at) => inner(forward(at, m, one.n), dy), z),
    ),
  ).toBeLessThan(1e-6);
  expect(
    relativeError(
      dm,
      centralDifferences((at) => inner(forward(z, at, one.n), dy), m),
    ),
  ).toBeLessThan(1e-6);
});

it("a layer without dropout is (m / n) ⊙ x·(W + s·B·A)ᵀ + bias", () => {
  const zero = {
    ...one,
    b: one.b.map(() => 0),
    n: norms(w, undefined, sizes),
    m: norms(w, undefined, sizes),
  };
  const base = layer(
    x,
    x.map(() => 0),
    { ...zero, m: zero.n },
    sizes,
  );
  // Where m = n and B is zero nothing is changed, whatever was dropped.
  expect(relativeError(layer(x, dropped, zero, sizes), base)).toBeLessThan(1e-15);
});

it.each(["a", "b", "m", "bias"] as const)("d%s of a layer equals central differences", (name) => {
  const wanted = centralDifferences(
    (at) => inner(layer(x, dropped, { ...one, [name]: at }, sizes), dy),
    one[name],
  );
  expect(relativeError(layerBackward(x, dropped, one, sizes, dy)[`d${name}`], wanted)).toBeLessThan(1e-6);
});

it("dx by x and by what is left of it equal central differences", () => {
  const { dx, ddropped } = layerBackward(x, dropped, one, sizes, dy);
  const byX = centralDifferences((at) => inner(layer(at, dropped, one, sizes), dy), x);
  const byDropped = centralDifferences((at) => inner(layer(x, at, one, sizes), dy), dropped);
  expect(relativeError(dx, byX)).toBeLessThan(1e-6);
  expect(relativeError(ddropped, byDropped)).toBeLessThan(1e-6);
});
