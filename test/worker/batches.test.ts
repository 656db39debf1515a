import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Batches } from "../../src/worker/batches.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function collect(): { sent: number[][]; batches: Batches<number> } {
  const sent: number[][] = [];
  return { sent, batches: new Batches((items) => sent.push([...items]), 50) };
}

it("hands on at once what comes after a quiet time", () => {
  const { sent, batches } = collect();
  batches.add(1);
  expect(sent).toEqual([[1]]);
  vi.advanceTimersByTime(50);
  batches.add(2);
  expect(sent).toEqual([[1], [2]]);
});

it("gathers what comes within the interval, in order, and hands it on when the interval is over", () => {
  const { sent, batches } = collect();
  batches.add(1);
  for (let i = 2; i <= 10; i++) {
    vi.advanceTimersByTime(5);
    batches.add(i);
  }
  expect(sent).toEqual([[1]]);
  vi.advanceTimersByTime(5);
  expect(sent).toEqual([[1], [2, 3, 4, 5, 6, 7, 8, 9, 10]]);
  vi.advanceTimersByTime(1000);
  expect(sent).toHaveLength(2);
});

it("hands on the rest when told to, once", () => {
  const { sent, batches } = collect();
  batches.add(1);
  batches.add(2);
  batches.flush();
  vi.advanceTimersByTime(1000);
  batches.flush();
  expect(sent).toEqual([[1], [2]]);
});
