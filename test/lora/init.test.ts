import { describe, expect, it } from "vitest";
import { initialStart } from "../../src/lora/init.ts";
import type { LoraTarget } from "../../src/lora/selection.ts";

function target(name: string, inFeatures: number, outFeatures: number, r: number): LoraTarget {
  const module = { name, kind: "linear", inFeatures, outFeatures, parameters: {} } as const;
  return { module, r, alpha: 1, scale: 1 / r, hasBias: false, hasMagnitude: false, fromBase: null };
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
    const { a, b } = initialStart(one, true, 42);
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
    const { mean, deviation, kurtosis } = moments(initialStart(one, "gaussian", 42).a);
    expect(Math.abs(mean)).toBeLessThan(0.015 * deviation);
    expect(deviation * 80).toBeCloseTo(1, 1);
    expect(Math.abs(kurtosis - 3)).toBeLessThan(0.1);
  });

  it("are uniform in B too for false, in ±1/√r", () => {
    const { a, b } = initialStart(one, false, 42);
    expect(a).toEqual(initialStart(one, true, 42).a);
    const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    expect(largest).toBeLessThanOrEqual(Math.fround(1 / Math.sqrt(80)));
    expect(largest).toBeGreaterThan(0.99 / Math.sqrt(80));
    const { mean, deviation, kurtosis } = moments(b);
    // Three standard errors of 2400 draws.
    expect(Math.abs(mean)).toBeLessThan(0.06 * deviation);
    expect(deviation * Math.sqrt(3 * 80)).toBeCloseTo(1, 1);
    expect(kurtosis).toBeCloseTo(1.8, 1);
  });

  it("cancel in the product for orthogonal, though both are normal", () => {
    const { a, b } = initialStart(one, "orthogonal", 42);
    for (const half of [a, b]) {
      const { mean, deviation, kurtosis } = moments(half);
      expect(Math.abs(mean)).toBeLessThan(0.06 * deviation);
      // PEFT's: a tenth of normal numbers, mixed by 40 of the 80 rows of a rotation.
      expect(deviation / (0.1 * Math.sqrt(0.5))).toBeCloseTo(1, 1);
      expect(Math.abs(kurtosis - 3)).toBeLessThan(0.5);
    }
    const product = (o: number, k: number) => {
      let sum = 0;
      for (let j = 0; j < 80; j++) sum += b[o * 80 + j]! * a[j * 500 + k]!;
      return sum;
    };
    for (const o of [0, 7, 29])
      for (const k of [0, 250, 499]) expect(Math.abs(product(o, k))).toBeLessThan(1e-7);
    // The rotation is whole: each direction has the same weight in AᵀA + BᵀB.
    const gram = (half: (j: number) => number[]) => (i: number, j: number) => {
      const [p, q] = [half(i), half(j)];
      return p.reduce((sum, value, k) => sum + value * q[k]!, 0);
    };
    const many = initialStart(target("x", 4000, 4000, 4), "orthogonal", 3);
    const ofA = gram((j) => [...many.a.subarray(j * 4000, (j + 1) * 4000)]);
    const ofB = gram((j) => Array.from({ length: 4000 }, (_, o) => many.b[o * 4 + j]!));
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 4; j++) expect((ofA(i, j) + ofB(i, j)) / 40).toBeCloseTo(i === j ? 1 : 0, 1);
    }
  });

  it("are zero for an embedding's A and normal for its B, or normal for both with false", () => {
    const table = { ...one, module: { ...one.module, kind: "embedding" as const } };
    for (const init of [true, "gaussian", "orthogonal"]) {
      const { a, b } = initialStart(table, init, 42);
      expect([a.length, a.every((value) => value === 0)]).toEqual([40_000, true]);
      const { mean, deviation, kurtosis } = moments(b);
      expect(Math.abs(mean)).toBeLessThan(0.06);
      expect(deviation).toBeCloseTo(1, 1);
      expect(Math.abs(kurtosis - 3)).toBeLessThan(0.5);
    }
    const { a } = initialStart(table, false, 42);
    expect(moments(a).deviation).toBeCloseTo(1, 1);
  });

  it("are the same for the same seed and name, and others otherwise", () => {
    const { a } = initialStart(one, true, 42);
    expect(initialStart(one, true, 42).a).toEqual(a);
    expect(initialStart(one, true, 43).a).not.toEqual(a);
    expect(initialStart({ ...one, module: { ...one.module, name: "other" } }, true, 42).a).not.toEqual(a);
    // The first row does not depend on how many follow.
    expect(initialStart(target(one.module.name, 500, 30, 3), true, 42).a).toEqual(a.subarray(0, 1500));
  });

  it("fill sizes that are no multiple of four", () => {
    const { a } = initialStart(target("x", 3, 1, 3), "gaussian", 1);
    expect(a.length).toBe(9);
    expect(a.every((value) => value !== 0)).toBe(true);
    expect(new Set(a).size).toBe(9);
  });
});

it("refuses ways to begin that are not built", () => {
  expect(() => initialStart(target("x", 3, 1, 3), "corda", 1)).toThrow('init_lora_weights is "corda"');
});
