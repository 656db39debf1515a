import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { backward, backwardTable, forward, replaced, rowsOf } from "./embedding.ts";

const width = 3;
const table = sequence(5 * width, 1);
const ids = Uint32Array.of(4, 0, 4);
const dy = sequence(ids.length * width, 3);

it("d soFar equals central differences", () => {
  const soFar = sequence(ids.length * width, 2);
  const expected = centralDifferences((at) => inner(forward(ids, table, width, at), dy), soFar);
  expect(relativeError(backward(dy), expected)).toBeLessThan(1e-6);
});

it("d table equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(ids, at, width), dy), table);
  expect(relativeError(backwardTable(ids, dy, 5, width), expected)).toBeLessThan(1e-6);
});

it("the gradient of rows that replace others equals central differences", () => {
  const indices = [4, 1];
  const rows = sequence(2 * width, 4);
  const expected = centralDifferences(
    (at) => inner(forward(ids, replaced(table, width, indices, at), width), dy),
    rows,
  );
  const found = rowsOf(backwardTable(ids, dy, 5, width), width, indices);
  expect(relativeError(found, expected)).toBeLessThan(1e-6);
});

it("takes row id of the table", () => {
  const y = forward(ids, table, width);
  expect([...y]).toEqual([...table.slice(12), ...table.slice(0, 3), ...table.slice(12)]);
});
