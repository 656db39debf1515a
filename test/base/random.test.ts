import { describe, expect, it } from "vitest";
import { normalPair, permutation, philox, seedKey, uniform01 } from "../../src/base/random.ts";

const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, "0")).join(" ");

describe("philox", () => {
  // The known answers of Random123's kat_vectors for philox4x32-10.
  it.each<[[number, number, number, number], [number, number], string]>([
    [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      "d16cfe09 94fdcceb 5001e420 24126ea1",
    ],
  ])("gives the known answer for counter %j", (counter, key, answer) => {
    expect(hex(philox(key, counter))).toBe(answer);
  });
});

describe("numbers from words", () => {
  it("are uniform in [0, 1), exact in f32", () => {
    expect(uniform01(0)).toBe(0);
    expect(uniform01(0xffffffff)).toBe(1 - 2 ** -24);
    expect(uniform01(0x80000000)).toBe(0.5);
  });

  it("are normal: mean, variance, tails and independence", () => {
    const values: number[] = [];
    let products = 0;
    for (let i = 0; i < 50_000; i++) {
      const words = philox([7, 0], [i, 0, 0, 0]);
      const [a, b] = normalPair(words[0]!, words[1]!);
      values.push(a, b);
      products += a * b;
    }
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + value * value, 0) / values.length;
    const beyondTwo = values.filter((value) => Math.abs(value) > 2).length / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.015);
    expect(Math.abs(variance - 1)).toBeLessThan(0.02);
    expect(Math.abs(beyondTwo - 0.0455)).toBeLessThan(0.003);
    expect(Math.abs(products / 50_000)).toBeLessThan(0.02);
    expect(normalPair(0, 0).every(Number.isFinite)).toBe(true);
  });

  it("come from all 53 bits of a seed", () => {
    expect(seedKey(2 ** 53 - 1)).toEqual([0xffffffff, 2 ** 21 - 1]);
    expect(seedKey(42)).toEqual([42, 0]);
  });
});

describe("a permutation", () => {
  it("holds every number once, whatever the count", () => {
    for (const count of [0, 1, 2, 17, 1000]) {
      expect([...permutation(count, 3, 5)].sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
    }
  });

  it("is the same for the same seed and stream, another for others", () => {
    const order = permutation(50, 1, 2);
    expect(permutation(50, 1, 2)).toEqual(order);
    expect(permutation(50, 2, 2)).not.toEqual(order);
    expect(permutation(50, 1, 3)).not.toEqual(order);
    expect(permutation(50, 1 + 2 ** 32, 2)).not.toEqual(order);
  });

  it("puts every number in every place equally often", () => {
    const seen = Array.from({ length: 5 }, () => new Array<number>(5).fill(0));
    for (let seed = 0; seed < 10_000; seed++) {
      permutation(5, seed, 0).forEach((value, place) => {
        seen[place]![value]!++;
      });
    }
    // 2000 expected, standard deviation 40.
    for (const count of seen.flat()) expect(Math.abs(count - 2000)).toBeLessThan(200);
  });
});
