/** Generation with a cache against the plain forward pass, and evaluation against the training loss. */
import { describe, expect, it } from "vitest";
import { Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import { Evaluator } from "../../src/train/evaluator.ts";
import { type GenerationSettings, Generator } from "../../src/train/generator.ts";
import type { RunConfig } from "../../src/train/runFile.ts";
import { GREEDY } from "../../src/train/sampling.ts";
import type { Session } from "../../src/train/session.ts";
import { testDevice } from "../harness/device.ts";
import { openParitySession, type ParityOptions } from "./parityRun.ts";

const on = testDevice();

async function open(
  name: string,
  options: ParityOptions = { adapter: "final" },
  change: (run: RunConfig) => void = () => {},
): Promise<Session> {
  const gpu = new Gpu(on.device);
  return openParitySession(gpu, new Kernels(gpu), name, change, options);
}

const settings: GenerationSettings = { ...GREEDY, max_new_tokens: 12, stopIds: new Set() };

/** Greedy, one full forward pass a token; stops where the two best logits are too close to tell. */
async function withoutCache(session: Session, prompt: Uint32Array, count: number): Promise<number[]> {
  const ids = [...prompt];
  const answer: number[] = [];
  while (answer.length < count) {
    const logits = (await session.logits(Uint32Array.from(ids))).at(-1)!;
    const [best, second] = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]!) as [number, number];
    if (logits[best]! - logits[second]! < 1e-4) break;
    answer.push(best);
    ids.push(best);
  }
  return answer;
}

async function generate(
  session: Session,
  prompts: readonly Uint32Array[],
  options: Partial<GenerationSettings> = {},
  how: { lanes?: number; context?: number; asBase?: boolean } = {},
) {
  const generator = new Generator(session.adapted, { lanes: 2, context: 48, ...how });
  await generator.prepare();
  const answers = await generator.generate(prompts, { ...settings, ...options });
  generator.destroy();
  return answers;
}

describe("greedy answers with a cache", () => {
  it.each([
    "llama_all_linear",
    "mistral_window",
    "qwen2_layers",
    "qwen3_all_linear",
    "gpt2_all_linear",
    "gpt2_dora",
    "gpt2_embedding",
  ])("are those without: %s", async (name) => {
    const session = await open(name);
    const rows = session.summary.tokenised.rows;
    const prompts = [3, 1, 9].map((length, i) =>
      rows.find(({ ids }) => ids.length > length + i)!.ids.slice(0, length),
    );
    const answers = await generate(session, prompts);
    for (const [i, prompt] of prompts.entries()) {
      const wanted = await withoutCache(session, prompt, 4);
      expect(wanted.length).toBeGreaterThan(0);
      expect(answers[i]!.ids.slice(0, wanted.length)).toEqual(wanted);
      expect(answers[i]!.ids.length).toBe(12);
    }
    session.destroy();
  });
});

describe("an answer", () => {
  const name = "gpt2_gelu";
  const prompts = [
    Uint32Array.of(5, 9, 17),
    Uint32Array.of(40),
    Uint32Array.of(7, 7),
    Uint32Array.of(100, 3),
  ];

  it("does not depend on what is answered beside it, nor on how many at once", async () => {
    const session = await open(name);
    const sampled = { do_sample: true, temperature: 1.5, seed: 3 };
    const together = await generate(session, prompts, sampled, { lanes: 4 });
    expect(await generate(session, prompts, sampled, { lanes: 3 })).toEqual(together);
    expect(await generate(session, prompts, { ...sampled, seed: 4 }, { lanes: 4 })).not.toEqual(together);
    session.destroy();
  });

  it("ends before a stop token, at max_new_tokens or with the context, and says which", async () => {
    const session = await open(name);
    const prompt = [Uint32Array.of(5, 9, 17)];
    const [free] = await generate(session, prompt);
    expect(free).toMatchObject({ finish: "length" });
    const stop = free!.ids[5]!;
    const [stopped] = await generate(session, prompt, { stopIds: new Set([stop]) });
    expect(stopped).toEqual({ ids: free!.ids.slice(0, free!.ids.indexOf(stop)), finish: "stop" });
    const [short] = await generate(session, prompt, {}, { context: 6 });
    // Three tokens of the prompt, three that are looked back at, and one more that need not be.
    expect(short).toEqual({ ids: free!.ids.slice(0, 4), finish: "length" });
    await expect(generate(session, [new Uint32Array(6)], {}, { context: 6 })).rejects.toThrow(
      "Prompt 1 has 6 tokens, expected 1 to 5.",
    );
    session.destroy();
  });

  it("that cannot be chosen, for logits that are no numbers, is an error; the base answers on", async () => {
    const session = await open("gpt2_all_linear", { adapter: "none" }, ({ lora }) => {
      Object.assign(lora, { init_lora_weights: false, lora_alpha: 1e38 });
    });
    await expect(generate(session, prompts)).rejects.toMatchObject({
      code: "not-finite",
      message: expect.stringMatching(
        /^The model with what was trained .*: (\d+) of the \1 logits of a token/,
      ),
    });
    expect((await generate(session, prompts, {}, { asBase: true }))[0]!.ids).toHaveLength(12);
    session.destroy();
  });

  it("of the base model leaves the adapter out", async () => {
    const [trained, fresh] = [await open(name), await open(name, { adapter: "none" })];
    const base = await generate(trained, prompts, {}, { asBase: true });
    // B is zero in a fresh adapter: the model is the base model.
    expect(base).toEqual(await generate(fresh, prompts));
    expect(await generate(trained, prompts)).not.toEqual(base);
    trained.destroy();
    fresh.destroy();
  });

  it.each(["llama_dora_patterns", "gpt2_bias_all"])(
    "of the base model leaves magnitudes and biases out: %s",
    async (name) => {
      const [trained, plain] = [
        await open(name),
        await open(name, { adapter: "none" }, ({ lora }) => {
          Object.assign(lora, { use_dora: false, bias: "none" });
        }),
      ];
      const base = await generate(trained, prompts, {}, { asBase: true });
      expect(base).toEqual(await generate(plain, prompts));
      expect(await generate(trained, prompts)).not.toEqual(base);
      trained.destroy();
      plain.destroy();
    },
  );
});

describe("the loss on rows that are not trained on", () => {
  it("is the training loss of a step that takes them all", async () => {
    const gpu = new Gpu(on.device);
    const session = await openParitySession(gpu, new Kernels(gpu), "gpt2_gelu", ({ train }) => {
      Object.assign(train, { max_steps: 1, per_device_train_batch_size: 1000 });
    });
    const evaluator = new Evaluator(session.adapted, session.summary.tokenised.rows);
    await evaluator.prepare();
    const before = await evaluator.evaluate();
    await session.prepare();
    await session.run(() => {});
    const [step] = session.reports;
    expect(before.targets).toBe(step!.tokens);
    expect(Math.abs(before.loss - step!.loss) / step!.loss).toBeLessThan(1e-6);
    expect((await evaluator.evaluate()).loss).not.toBe(before.loss);
    evaluator.destroy();
    session.destroy();
    expect(gpu.totalBytes()).toBe(256);
  });
});
