import { describe, expect, it } from "vitest";
import { Column, Curves, chartPoints, extremes } from "../../src/ui/curves.ts";
import { evaluationReport, stepReport } from "./recordedWorker.ts";

describe("a column", () => {
  it("keeps every number as it grows", () => {
    const column = new Column();
    for (let i = 0; i < 5000; i++) column.push(i / 7);
    expect(column.length).toBe(5000);
    expect([...column.values]).toEqual(Array.from({ length: 5000 }, (_, i) => i / 7));
    expect(column.at(-1)).toBe(4999 / 7);
    expect(column.at(5000)).toBeNaN();
  });
});

describe("the curves", () => {
  it("measure the speed between steps, without evaluations, and give none before two steps can be compared", () => {
    const curves = new Curves();
    expect(curves.tokensPerSecond).toBeUndefined();
    curves.take([stepReport(1, { tokens: 500, elapsed_ms: 100 })]);
    expect(curves.tokensPerSecond).toBeUndefined();
    // The first step's tokens were trained before its end.
    curves.take([stepReport(2, { tokens: 20, elapsed_ms: 200 })]);
    curves.take([evaluationReport(2, 1, 5200)]);
    curves.take([stepReport(3, { tokens: 40, elapsed_ms: 5300 })]);
    expect(curves.tokensPerSecond).toBe(300);
  });

  it("smooth the loss without beginning at nought", () => {
    const curves = new Curves();
    for (let step = 1; step <= 100; step++) curves.take([stepReport(step, { loss: step <= 50 ? 4 : 2 })]);
    expect(curves.smoothed.at(0)).toBeCloseTo(4, 9);
    expect(curves.smoothed.at(49)).toBeCloseTo(4, 9);
    expect(curves.smoothed.at(99)).toBeGreaterThan(2);
    expect(curves.smoothed.at(99)).toBeLessThan(2.2);
  });
});

describe("what is drawn", () => {
  it("is every point where there is room, else the lowest and the highest of each column", () => {
    expect([...extremes(Float64Array.of(3, 1, 2), 5)]).toEqual([0, 1, 2]);
    const values = Float64Array.from({ length: 100_000 }, (_, i) => Math.sin(i / 1000));
    values[54_321] = 9;
    values[12_345] = -9;
    const shown = extremes(values, 500);
    expect(shown.length).toBeLessThanOrEqual(1000);
    expect(shown.length).toBeGreaterThan(900);
    expect(shown).toContain(54_321);
    expect(shown).toContain(12_345);
    expect([...shown]).toEqual([...shown].sort((a, b) => a - b));
  });

  it("puts held-out losses at their steps, between those that are drawn", () => {
    const curves = new Curves();
    curves.take([evaluationReport(0, 5, 1)]);
    for (let step = 1; step <= 1000; step++) {
      curves.take([stepReport(step, { loss: 1 / step })]);
      if (step % 500 === 0) curves.take([evaluationReport(step, 5 - step / 1000, 50 * step)]);
    }
    const [steps, loss, smoothed, held] = chartPoints(curves, 20);
    expect(steps.length).toBeLessThan(50);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    expect(new Set(steps).size).toBe(steps.length);
    expect([0, 500, 1000].map((step) => held[steps.indexOf(step)])).toEqual([5, 4.5, 4]);
    expect(held.filter((value) => value !== null)).toHaveLength(3);
    expect(loss[steps.indexOf(1)]).toBe(1);
    expect(smoothed[steps.indexOf(1)]).toBeCloseTo(1, 9);
    expect(loss[steps.indexOf(0)]).toBeNull();
  });
});
