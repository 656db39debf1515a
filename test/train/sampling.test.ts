import { describe, expect, it } from "vitest";
import { GREEDY, penalise, type Sampling, sample } from "../../src/train/sampling.ts";

const logits = Float32Array.of(0, 2, 1, 2, -1);
const sampled: Sampling = { ...GREEDY, do_sample: true, seed: 11 };

/** How often each token comes in many draws. */
function shares(settings: Sampling, draws = 20_000): number[] {
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) counts[sample(logits, settings, i % 7, i)]! += 1;
  return counts.map((count) => count / draws);
}

function softmax(values: readonly number[]): number[] {
  const weights = values.map(Math.exp);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

function expectShares(found: readonly number[], wanted: readonly number[]): void {
  for (const [i, share] of found.entries()) expect(Math.abs(share - wanted[i]!)).toBeLessThan(0.015);
}

describe("the next token", () => {
  it("is the likeliest and, of equals, the first, where nothing is drawn", () => {
    expect(sample(logits, GREEDY, 0, 0)).toBe(1);
    expect(sample(logits, { ...sampled, temperature: 0 }, 3, 9)).toBe(1);
  });

  it("is drawn in proportion to the softmax", () => {
    expectShares(shares(sampled), softmax([...logits]));
  });

  it("is drawn from a flatter or steeper one by the temperature", () => {
    expectShares(shares({ ...sampled, temperature: 2 }), softmax([...logits].map((value) => value / 2)));
  });

  it("is one of the top_k", () => {
    expectShares(
      shares({ ...sampled, top_k: 3 }),
      softmax([Number.NEGATIVE_INFINITY, 2, 1, 2, Number.NEGATIVE_INFINITY]),
    );
  });

  it("is one of the likeliest that reach top_p", () => {
    // The two likeliest hold 0.75 together.
    expectShares(shares({ ...sampled, top_p: 0.7 }), [0, 0.5, 0, 0.5, 0]);
    expectShares(shares({ ...sampled, top_p: 0.1 }), [0, 1, 0, 0, 0]);
  });

  it("is the same for the same seed, answer and position, and another for another", () => {
    const draw = (seed: number, answer: number): string =>
      Array.from({ length: 40 }, (_, i) => sample(logits, { ...sampled, seed }, answer, i)).join();
    expect(draw(5, 1)).toBe(draw(5, 1));
    expect(draw(5, 2)).not.toBe(draw(5, 1));
    expect(draw(6, 1)).not.toBe(draw(5, 1));
  });
});

describe("the repetition penalty", () => {
  it("divides what is above zero and multiplies what is below, of each token that was seen, once", () => {
    const penalised = Float32Array.of(0, 2, 1, -2, -1);
    penalise(penalised, new Set([0, 1, 3]), 1.25);
    expect([...penalised]).toEqual([...Float32Array.of(0, 1.6, 1, -2.5, -1)]);
  });

  it("of 1 changes nothing", () => {
    const same = logits.slice();
    penalise(same, new Set([0, 1, 4]), 1);
    expect(same).toEqual(logits);
  });
});
