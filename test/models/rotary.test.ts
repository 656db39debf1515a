import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseModelConfig } from "../../src/models/config.ts";
import { inverseFrequencies, type Rotary, rotaryTables, torchPow } from "../../src/models/rotary.ts";

interface Dump {
  head_dim: number;
  rope_parameters: Record<string, unknown>;
  inv_freq: number[];
  cos: number[][];
  sin: number[][];
}
const dump = JSON.parse(readFileSync(new URL("fixtures/rotary.json", import.meta.url), "utf8")) as {
  positions: number[];
  cases: Dump[];
};

function rotaryOf({ head_dim, rope_parameters }: Dump): Rotary {
  return parseModelConfig({
    model_type: "llama",
    hidden_size: 2 * head_dim,
    num_attention_heads: 2,
    head_dim,
    max_position_embeddings: 131072,
    rope_parameters,
  }).rotary!;
}

/** Distance in units of the last place of an f32. */
function ulps(found: number, wanted: number): number {
  return Math.abs(found - wanted) / 2 ** (Math.floor(Math.log2(Math.abs(wanted))) - 23);
}

describe.each(dump.cases.map((entry) => ({ ...entry, title: JSON.stringify(entry.rope_parameters) })))(
  "heads of $head_dim, $title",
  (entry) => {
    const rotary = rotaryOf(entry);
    const frequencies = inverseFrequencies(rotary, entry.head_dim);

    it("has Transformers' frequencies to the bit", () => {
      expect(frequencies).toEqual(Float32Array.from(entry.inv_freq));
    });

    it("has Transformers' tables to the last place of an f32", () => {
      const half = entry.head_dim / 2;
      const { cos, sin } = rotaryTables(rotary, entry.head_dim, 2001);
      dump.positions.forEach((position, p) => {
        for (let i = 0; i < half; i++) {
          const at = position * half + i;
          expect(Math.abs(cos[at]! - entry.cos[p]![i]!)).toBeLessThanOrEqual(2e-7);
          expect(Math.abs(sin[at]! - entry.sin[p]![i]!)).toBeLessThanOrEqual(2e-7);
        }
      });
    });
  },
);

describe("torchPow", () => {
  it("is a power in f32, to an ulp", () => {
    for (const base of [2, 500, 10000, 123456.7, 1e6, 1e7]) {
      for (let exponent = 0; exponent < 1; exponent += 0.0137) {
        const y = Math.fround(exponent);
        expect(ulps(torchPow(base, y), Math.fround(base) ** y)).toBeLessThanOrEqual(1);
      }
    }
  });
});
