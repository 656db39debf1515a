/** What shares a micro-batch, and how a step is cut into micro-batches, shows in no loss and no gradient. */
import { describe, expect, it } from "vitest";
import { philox, seedKey } from "../../src/base/random.ts";
import { type TokenisedRow, targetCount } from "../../src/data/tokenisedRow.ts";
import type { TrainConfig } from "../../src/train/fields.ts";
import type { StepReport } from "../../src/train/reports.ts";
import { parseRunFile, type RunConfig } from "../../src/train/runFile.ts";
import type { Session } from "../../src/train/session.ts";
import { Trainer } from "../../src/train/trainer.ts";
import { testDevice } from "../harness/device.ts";
import { openParitySession, type ParityOptions } from "./parityRun.ts";

const on = testDevice();

const open = (name: string, change?: (run: RunConfig) => void, options?: ParityOptions): Promise<Session> =>
  openParitySession(on.gpu, on.kernels, name, change, options);

/** No tokenizer here has fewer tokens. */
const VOCABULARY = 120;

/** A row of random tokens; `learns` says which of them are trained, all unless told. */
function randomRow(length: number, line: number, learns?: (position: number) => boolean): TokenisedRow {
  const words = Array.from({ length }, (_, i) => philox(seedKey(5), [line, i, 0, 0])[0]!);
  const ids = Uint32Array.from(words, (word) => word % VOCABULARY);
  if (!learns) return { ids, line };
  return { ids, trained: Uint8Array.from(words, (_, i) => Number(i > 0 && learns(i))), line };
}

/** A trainer that changes nothing: every step finds the same weights. */
async function trainerOf(session: Session, rows: readonly TokenisedRow[], settings: Partial<TrainConfig>) {
  const { train } = parseRunFile({ train: { learning_rate: 0, shuffle: false, num_train_epochs: 1 } }, "run");
  const trainer = new Trainer({ adapted: session.adapted, train: { ...train, ...settings }, rows });
  await trainer.prepare();
  return trainer;
}

async function takeStep(trainer: Trainer, step: number): Promise<StepReport> {
  const reports: StepReport[] = [];
  await trainer.run((report) => reports.push(report), { firstStep: step, lastStep: step });
  return reports[0]!;
}

type Gradients = ReadonlyMap<string, Float64Array>;

async function gradientsOf({ adapted }: Session): Promise<Gradients> {
  const chunks = adapted
    .chunks("gradients")
    .map((buffer) => on.gpu.read({ buffer, offset: 0, size: buffer.size }));
  const read = await Promise.all(chunks);
  const gradients = [...adapted.layout.tensors.values()].map(({ name, shape, place }) => {
    const count = shape.reduce((product, size) => product * size, 1);
    return [name, Float64Array.from(new Float32Array(read[place.chunk]!, place.byteOffset, count))] as const;
  });
  return new Map(gradients);
}

/** The largest difference of any tensor, relative to that tensor's largest value. */
function largestDifference(found: Gradients, wanted: Gradients): number {
  let worst = 0;
  for (const [key, values] of wanted) {
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    values.forEach((value, i) => {
      const off = Math.abs(found.get(key)![i]! - value) / Math.max(largest, 1e-30);
      // Written so that NaN fails.
      if (!(off <= worst)) worst = off;
    });
  }
  return worst;
}

describe("rows of every length side by side in one pack", () => {
  it.each(["mistral_window", "gpt2_all_linear"])(
    "have the losses and gradients that they have one by one: %s",
    async (name) => {
      const session = await open(name);
      // A row's last token is not read: these are 1 to 64 tokens.
      const rows = Array.from({ length: 64 }, (_, i) => randomRow(i + 2, i));
      const lengths = { max_length: 65, per_device_train_batch_size: 33 };
      const packed = await trainerOf(session, rows, { ...lengths, packing: true });
      expect(packed.steps).toBe(1);
      const together = await takeStep(packed, 1);
      const found = await gradientsOf(session);
      packed.destroy();

      const single = await trainerOf(session, rows, { max_length: 65, per_device_train_batch_size: 1 });
      let loss = 0;
      const wanted = new Map([...found].map(([key, { length }]) => [key, new Float64Array(length)]));
      for (const [i, row] of rows.entries()) {
        const share = targetCount(row) / together.tokens;
        loss += share * (await takeStep(single, i + 1)).loss;
        for (const [key, values] of await gradientsOf(session))
          for (const [at, value] of values.entries()) wanted.get(key)![at]! += share * value;
      }
      single.destroy();
      session.destroy();
      expect(Math.abs(together.loss - loss) / loss).toBeLessThan(1e-5);
      expect(largestDifference(found, wanted)).toBeLessThan(1e-5);
    },
  );
});

describe("a step that is cut into micro-batches", () => {
  const some = (every: number) => (position: number) => position % every === 0;
  const rows = Array.from({ length: 16 }, (_, i) => randomRow(3 + ((i * 7) % 29), i, some(1 + (i % 3))));
  // The first of eight micro-batches then has nothing to learn; of four, half a one.
  const withEmpty = rows.map((row, i) => (i < 2 ? { ...row, trained: new Uint8Array(row.ids.length) } : row));
  const withDropout = ({ lora }: RunConfig): void => void Object.assign(lora, { lora_dropout: 0.2 });

  it.each([
    ["llama_all_linear", "", rows, undefined, {}],
    ["qwen3_all_linear", ", one of them without a trained token", withEmpty, undefined, {}],
    ["gpt2_gelu", ", with dropout", rows, withDropout, { adapter: "none" }],
    ["qwen3_dora_head", ", with dropout before the head", rows, withDropout, { adapter: "none" }],
  ] as const)("keeps its loss and gradients: %s%s", async (name, _, given, change, options) => {
    const session = await open(name, change, options);
    const cuts: { loss: number; tokens: number; gradients: Gradients }[] = [];
    for (const parts of [1, 2, 4, 8]) {
      const cut = { per_device_train_batch_size: 16 / parts, gradient_accumulation_steps: parts };
      const trainer = await trainerOf(session, given, cut);
      const { loss, tokens } = await takeStep(trainer, 1);
      cuts.push({ loss, tokens, gradients: await gradientsOf(session) });
      trainer.destroy();
    }
    session.destroy();
    const [whole, ...others] = cuts as [(typeof cuts)[0], ...typeof cuts];
    for (const { loss, tokens, gradients } of others) {
      expect(tokens).toBe(whole.tokens);
      expect(Math.abs(loss - whole.loss) / whole.loss).toBeLessThan(1e-6);
      expect(largestDifference(gradients, whole.gradients)).toBeLessThan(2e-6);
    }
  });
});
