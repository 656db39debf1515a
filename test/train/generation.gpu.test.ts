/** Long greedy answers with a cache: those of a single forward pass without one, and those of Transformers. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Generator } from "../../src/train/generator.ts";
import { GREEDY } from "../../src/train/sampling.ts";
import { testDevice } from "../harness/device.ts";
import { openParitySession } from "./parityRun.ts";

interface Reference {
  readonly base: string;
  readonly run: string;
  readonly prompt: number[];
  /** How close the two best scores came. */
  readonly gap: number;
  readonly tokens: number[];
  readonly penalty: number;
  readonly penalised: number[];
}

const references = JSON.parse(
  readFileSync(new URL("fixtures/generation.json", import.meta.url), "utf8"),
) as Reference[];
/** Scores that are closer could come out in another order. */
const CLOSE = 1e-4;

const on = testDevice();

function best(logits: Float32Array): number {
  return logits.indexOf(Math.max(...logits));
}

describe("two hundred tokens with a cache", () => {
  it.each(references)(
    "are those of Transformers, and those without: $base",
    async ({ base, run, ...wanted }) => {
      expect(wanted.gap).toBeGreaterThan(CLOSE);
      const session = await openParitySession(on.gpu, on.kernels, run, () => {}, { adapter: "final", base });
      const generator = new Generator(session.adapted, { lanes: 1, context: 256 });
      await generator.prepare();
      const answer = async (max_new_tokens: number, repetition_penalty: number): Promise<number[]> => {
        const settings = { ...GREEDY, repetition_penalty, max_new_tokens, stopIds: new Set<number>() };
        return (await generator.generate([Uint32Array.from(wanted.prompt)], settings))[0]!.ids;
      };
      const tokens = await answer(wanted.tokens.length, 1);
      expect(tokens).toEqual(wanted.tokens);
      expect(await answer(wanted.penalised.length, wanted.penalty)).toEqual(wanted.penalised);
      generator.destroy();

      // One pass over prompt and answer: each token must be the best after those before it.
      const logits = await session.logits(Uint32Array.from([...wanted.prompt, ...tokens]));
      expect(logits.slice(wanted.prompt.length - 1, -1).map(best)).toEqual(tokens);
      session.destroy();
    },
  );
});
