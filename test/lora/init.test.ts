import { describe, expect, it } from "vitest";
import { initialHalves } from "../../src/lora/init.ts";
import type { LoraTarget } from "../../src/lora/targets.ts";

function target(name: string, inFeatures: number, outFeatures: number, r: number): LoraTarget {
  const module = { name, kind: "linear", inFeatures, outFeatures, parameters: {} } as const;
  return { module, r, alpha: 1, scale: 1 / r };
}

const moments = (values: Float32Array) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  const fourth = values.reduce((sum, value) => sum + (value - mean) ** 4, 0) / values.length;
  return { mean, deviation: Math.sqrt(variance), kurtosis: fourth / variance ** 2 };
};

describe("initial values", () => {
  const one = target("model.layers.0.self_attn.q_proj", 500, 30, 80);

  it("are uniform in ±1/√in for A, and zero for B", () => {
    const { a, b } = initialHalves(one, true, 42);
    expect([a.length, b.length]).toEqual([40_000, 2400]);
    const bound = 1 / Math.sqrt(500);
    const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(largest).toBeLessThanOrEqual(Math.fround(bound));
    expect(largest).toBeGreaterThan(0.999 * bound);
    const { mean, deviation, kurtosis } = moments(a);
    // Three standard errors of 40 000 draws.
    expect(Math.abs(mean)).toBeLessThan(0.015 * deviation);
    expect(deviation).toBeCloseTo(bound / Math.sqrt(3), 3);
    expect(kurtosis).toBeCloseTo(1.8, 1);
    expect(b.every((value) => value === 0)).toBe(true);
  });

  it("are normal with deviation 1/r for gaussian", () => {
    const { mean, deviation, kurtosis } = moments(initialHalves(one, "gaussian", 42).a);
    expect(Math.abs(mean)).toBeLessThan(0.015 * deviation);
    expect(deviation * 80).toBeCloseTo(1, 1);
    expect(Math.abs(kurtosis - 3)).toBeLessThan(0.1);
  });

  it("are the same for the same seed and name, and others otherwise", () => {
    const { a } = initialHalves(one, true, 42);
    expect(initialHalves(one, true, 42).a).toEqual(a);
    expect(initialHalves(one, true, 43).a).not.toEqual(a);
    expect(initialHalves({ ...one, module: { ...one.module, name: "other" } }, true, 42).a).not.toEqual(a);
    // The first row does not depend on how many follow.
    expect(initialHalves(target(one.module.name, 500, 30, 3), true, 42).a).toEqual(a.subarray(0, 1500));
  });

  it("fill sizes that are no multiple of four", () => {
    const { a } = initialHalves(target("x", 3, 1, 3), "gaussian", 1);
    expect(a.length).toBe(9);
    expect(a.every((value) => value !== 0)).toBe(true);
    expect(new Set(a).size).toBe(9);
  });
});

it("refuses ways to begin that are not built", () => {
  expect(() => initialHalves(target("x", 3, 1, 3), "pissa", 1)).toThrow('init_lora_weights is "pissa"');
});
