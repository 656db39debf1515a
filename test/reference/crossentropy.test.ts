import { expect, it } from "vitest";
import { centralDifferences, relativeError, sequence } from "../harness/differences.ts";
import { backward, forward } from "./crossentropy.ts";

const [tokens, width, vocabulary, scale] = [5, 3, 7, 0.4];
const hidden = sequence(tokens * width, 1);
const head = sequence(vocabulary * width, 2);
// Row 2 predicts nothing.
const targets = { width, targetRow: Uint32Array.of(4, 0, 1, 3), targetId: Uint32Array.of(6, 0, 2, 2) };
const nats = (rows: Float64Array, weight: Float64Array): number =>
  scale * forward(rows, weight, targets).reduce((sum, loss) => sum + loss, 0);
const { dhidden, dhead } = backward(hidden, head, targets, scale);

it("dhidden equals central differences, and is zero for a row that predicts nothing", () => {
  const expected = centralDifferences((at) => nats(at, head), hidden);
  expect(relativeError(dhidden, expected)).toBeLessThan(1e-6);
  expect([...dhidden.subarray(2 * width, 3 * width)]).toEqual([0, 0, 0]);
});

it("dhead equals central differences", () => {
  const expected = centralDifferences((at) => nats(hidden, at), head);
  expect(relativeError(dhead, expected)).toBeLessThan(1e-6);
});

it("gives −ln of the softmax", () => {
  // Logits 1, 2, 3: p of the last is e³ / (e + e² + e³).
  const single = { width: 1, targetRow: Uint32Array.of(0), targetId: Uint32Array.of(2) };
  const [loss] = forward(Float64Array.of(1), Float64Array.of(1, 2, 3), single);
  expect(loss).toBeCloseTo(-Math.log(Math.exp(3) / (Math.exp(1) + Math.exp(2) + Math.exp(3))), 14);
});
