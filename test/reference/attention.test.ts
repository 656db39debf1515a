import { expect, it } from "vitest";
import { centralDifferences, inner, relativeError, sequence } from "../harness/differences.ts";
import { type AttentionShape, backward, forward } from "./attention.ts";

// Two sequences of three, the second causal; a query that sees nothing; columns that are neither q, k nor v.
const keyRange = Uint32Array.of(0, 2, 0, 3, 1, 3, 3, 4, 3, 5, 4, 4);
const [queries, keys] = [6, 6];
const grouped: AttentionShape = {
  heads: 4,
  keyValueHeads: 2,
  headDim: 3,
  scale: 0.7,
  q: { width: 13, start: 1 },
  kv: { width: 14, keyStart: 7, valueStart: 0 },
  keyRange,
};
const q = sequence(queries * grouped.q.width, 1);
const kv = sequence(keys * grouped.kv.width, 2);
const dy = sequence(queries * grouped.heads * grouped.headDim, 3);

it("dq equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(grouped, at, kv), dy), q);
  expect(relativeError(backward(grouped, q, kv, dy).dq, expected)).toBeLessThan(1e-6);
});

it("dkv equals central differences", () => {
  const expected = centralDifferences((at) => inner(forward(grouped, q, at), dy), kv);
  expect(relativeError(backward(grouped, q, kv, dy).dkv, expected)).toBeLessThan(1e-6);
});

it("dq + dkv equals central differences where queries, keys and values are one value", () => {
  const fused = { ...grouped, q: { width: 25, start: 12 }, kv: { width: 25, keyStart: 6, valueStart: 0 } };
  const qkv = sequence(keys * 25, 4);
  const expected = centralDifferences((at) => inner(forward(fused, at, at), dy), qkv);
  const { dq, dkv } = backward(fused, qkv, qkv, dy);
  expect(
    relativeError(
      dq.map((d, i) => d + dkv[i]!),
      expected,
    ),
  ).toBeLessThan(1e-6);
});

it("gives zeros to a query that sees no key, and the value itself to one that sees one", () => {
  const y = forward(grouped, q, kv);
  const width = grouped.heads * grouped.headDim;
  expect([...y.subarray(5 * width)]).toEqual(new Array(width).fill(0));
  const [value] = [kv.subarray(3 * grouped.kv.width, 3 * grouped.kv.width + 6)];
  // Heads 0 and 1 share the first value head, 2 and 3 the second.
  const expected = [0, 0, 1, 1].flatMap((head) => [...value.subarray(3 * head, 3 * head + 3)]);
  expect([...y.subarray(3 * width, 4 * width)]).toEqual(expected);
});
