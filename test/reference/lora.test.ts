import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, type Factors, forward } from "./lora.ts";

const [rows, width, out] = [4, 5, 9];
const sizes = { width, out };
const x = sequence(rows * width, 1);
const y = sequence(rows * out, 2);
const dy = sequence(rows * out, 3);
// Rows 0, 4 and 8 belong to no module.
const start = { a: sequence(width, 9), b: sequence(3, 10) };
const modules: readonly Factors[] = [
  { rowStart: 5, scale: 0.5, rank: 1, a: sequence(width, 4), b: sequence(3, 5), start },
  { rowStart: 1, scale: 3, rank: 2, a: sequence(2 * width, 6), b: sequence(3 * 2, 7), bias: sequence(3, 8) },
];
const withFactor = (index: number, factor: Partial<Factors>) =>
  modules.map((module, i) => (i === index ? { ...module, ...factor } : module));

it("is y + s·((x·Aᵀ)·Bᵀ + bias) in the module's rows and y elsewhere", () => {
  const factors = { rank: 1, a: Float64Array.of(3, 5), b: Float64Array.of(7) };
  const module = { rowStart: 1, scale: 2, ...factors, bias: Float64Array.of(11) };
  const got = forward(Float64Array.of(1, -1), Float64Array.of(10, 20, 30), [module], { width: 2, out: 3 });
  expect([...got]).toEqual([10, 20 + 2 * ((3 - 5) * 7 + 11), 30]);
});

it("is what the second pair adds, too", () => {
  const start = { a: Float64Array.of(1, 1), b: Float64Array.of(-4) };
  const module = { rowStart: 0, scale: 2, rank: 1, a: Float64Array.of(3, 5), b: Float64Array.of(7), start };
  const got = forward(Float64Array.of(1, 2), Float64Array.of(10), [module], { width: 2, out: 1 });
  expect([...got]).toEqual([10 + 2 * (13 * 7 - 3 * 4)]);
});

it("dx equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(at, y, modules, sizes), dy), x);
  expect(relativeError(backward(x, modules, sizes, dy).dx, expected)).toBeLessThan(1e-6);
});

it("dy passes to y as it is", () => {
  const expected = centralDifferences((at) => inner(forward(x, at, modules, sizes), dy), y);
  expect(relativeError(dy, expected)).toBeLessThan(1e-6);
});

it.each([0, 1])("dA and dB of module %i equal central differences", (index) => {
  const { da, db } = backward(x, modules, sizes, dy);
  const { a, b } = modules[index]!;
  const ofA = centralDifferences((at) => inner(forward(x, y, withFactor(index, { a: at }), sizes), dy), a);
  const ofB = centralDifferences((at) => inner(forward(x, y, withFactor(index, { b: at }), sizes), dy), b);
  expect(relativeError(da[index]!, ofA)).toBeLessThan(1e-6);
  expect(relativeError(db[index]!, ofB)).toBeLessThan(1e-6);
});

it("dbias equals central differences", () => {
  const { bias } = modules[1]!;
  const wanted = centralDifferences(
    (at) => inner(forward(x, y, withFactor(1, { bias: at }), sizes), dy),
    bias!,
  );
  expect(relativeError(backward(x, modules, sizes, dy).dbias[1]!, wanted)).toBeLessThan(1e-6);
});
