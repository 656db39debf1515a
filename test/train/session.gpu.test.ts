/** Whole runs against themselves and against PEFT's logits and gradients: what the losses alone would not tell. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type NodeDevice, requestNodeDevice } from "../../src/cli/device.ts";
import { toFloat32 } from "../../src/formats/floats.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { BLOCK_BYTES, type DeviceTraits, Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import type { RunConfig } from "../../src/train/runFile.ts";
import type { Session } from "../../src/train/session.ts";
import { DUMPS, openParitySession, type ParityOptions } from "./parityRun.ts";

let node: NodeDevice;
beforeAll(async () => {
  node = await requestNodeDevice({ limits: "default" });
});
afterAll(() => node.device.destroy());

type Change = (run: RunConfig) => void;
const facts = { baseModel: null, dataset: "rows", device: null };

interface Outcome {
  readonly losses: readonly number[];
  readonly adapter: Uint8Array;
  readonly submits: number;
}

interface How extends ParityOptions {
  readonly traits?: Partial<DeviceTraits>;
}

async function open(name: string, change: Change = () => {}, { traits, ...options }: How = {}) {
  const gpu = new Gpu(node.device, traits);
  const session = await openParitySession(gpu, new Kernels(gpu), name, change, options);
  return { gpu, session };
}

/** Trains `name` for a few steps and takes what comes out. */
async function train(name: string, change: Change, how?: How): Promise<Outcome> {
  const { session, gpu } = await open(name, change, how);
  await session.prepare();
  const { queue } = gpu.device;
  const submit = queue.submit.bind(queue);
  let submits = 0;
  queue.submit = (buffers) => {
    submits++;
    submit(buffers);
  };
  await session.run(() => {});
  queue.submit = submit;
  const files = await session.files(facts);
  session.destroy();
  return {
    losses: session.reports.map(({ loss }) => loss),
    adapter: files.get("adapter_model.safetensors")!,
    submits,
  };
}

/** Whether two runs saw the same losses and ended with the same bytes. */
function same(a: Outcome, b: Outcome): boolean {
  return a.losses.join() === b.losses.join() && Buffer.compare(a.adapter, b.adapter) === 0;
}

function largestDifference(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(found.length).toBe(wanted.length);
  let largest = 0;
  let off = 0;
  for (let i = 0; i < wanted.length; i++) {
    largest = Math.max(largest, Math.abs(wanted[i]!));
    const difference = Math.abs(found[i]! - wanted[i]!);
    // Written so that NaN fails.
    if (!(difference <= off)) off = difference;
  }
  return off / largest;
}

const steps =
  (count: number, more: Change = () => {}): Change =>
  (run) => {
    Object.assign(run.train, { max_steps: count });
    more(run);
  };

describe("memory", () => {
  it.each(["llama_all_linear", "gpt2_all_linear", "llama_tied_head"])(
    "is what was said before anything was allocated: %s",
    async (name) => {
      const { gpu, session } = await open(name, steps(1));
      const { memory } = session.trainer;
      await session.prepare();
      const found = Object.fromEntries(gpu.bytes);
      // A dummy buffer that belongs to the device and not to the run.
      expect({ ...found, control: found.control! - BLOCK_BYTES }).toEqual(memory);
      await session.run(() => {});
      expect(Object.fromEntries(gpu.bytes)).toEqual(found);
      session.destroy();
      expect(gpu.totalBytes()).toBe(BLOCK_BYTES);
    },
  );
});

describe("a device without room", () => {
  it("is told so, and keeps nothing of the run", async () => {
    // Enough for every tensor of the model, not for the widest activation.
    const wide = steps(1, ({ train }) => Object.assign(train, { per_device_train_batch_size: 10 }));
    const { gpu: small, session: refused } = await open("gpt2_gelu", wide, { traits: { maxBuffer: 25_600 } });
    await expect(refused.prepare()).rejects.toThrow(/needs a buffer of \d+ bytes, this device allows/);
    expect(small.totalBytes()).toBe(BLOCK_BYTES);
    refused.destroy();
    expect(small.totalBytes()).toBe(BLOCK_BYTES);
  });
});

describe("held-out rows", () => {
  const heldOut = [{ text: "the tree grows by the river", line: 1 }];

  it("are evaluated first, every eval_steps and last, counted in the memory, and train nothing", async () => {
    const every = steps(5, ({ train }) => Object.assign(train, { eval_steps: 2 }));
    const { gpu, session } = await open("gpt2_gelu", every, { heldOut });
    await session.prepare();
    const { memory } = session.summary;
    const found = Object.fromEntries(gpu.bytes);
    expect({ ...found, control: found.control! - BLOCK_BYTES }).toEqual(memory);
    const seen: string[] = [];
    await session.run((report) =>
      seen.push("eval_loss" in report ? `after ${report.step}` : `${report.step}`),
    );
    expect(seen).toEqual(["after 0", "1", "2", "after 2", "3", "4", "after 4", "5", "after 5"]);
    const files = await session.files(facts);
    const lines = Buffer.from(files.get("metrics.jsonl")!).toString().trim().split("\n");
    const parsed = lines.map(
      (line) => JSON.parse(line) as { step: number; loss?: number; eval_loss?: number },
    );
    expect(parsed.map(({ step, loss }) => (loss === undefined ? `after ${step}` : `${step}`))).toEqual(seen);
    expect(new Set(session.evaluations.map(({ eval_loss }) => eval_loss)).size).toBe(4);
    const alone = await train("gpt2_gelu", steps(5));
    expect(session.reports.map(({ loss }) => loss)).toEqual(alone.losses);
    session.destroy();
    expect(gpu.totalBytes()).toBe(BLOCK_BYTES);
  });

  it("that are wanted and not there are asked for", async () => {
    const every = steps(5, ({ train }) => Object.assign(train, { eval_steps: 2 }));
    await expect(open("gpt2_gelu", every)).rejects.toThrow("train.eval_steps is 2, but no rows are held out");
  });
});

describe("answers", () => {
  it("come from the model as it is now, or from the base", async () => {
    const { session } = await open("gpt2_gelu", steps(1), { adapter: "final" });
    await session.prepare();
    const prompts = [{ text: "the tree" }, { text: "a" }];
    const grown: string[] = [];
    const onText = (prompt: number, text: string): void => {
      grown[prompt] = text;
    };
    const answers = await session.answers(prompts, { max_new_tokens: 10, onText });
    expect(answers).toEqual(grown);
    expect(answers).toHaveLength(2);
    expect(await session.answers(prompts, { max_new_tokens: 10, asBase: true })).not.toEqual(answers);
    // A model without a chat template is asked in the plain way of writing a conversation.
    const messages = [{ role: "user", content: "the tree" }];
    const plainly = [{ text: "User: the tree\nAssistant:" }];
    expect(await session.answers([{ messages }], { max_new_tokens: 5 })).toEqual(
      await session.answers(plainly, { max_new_tokens: 5 }),
    );
    session.destroy();
  });
});

describe("the same bytes", () => {
  it.each(["llama_tied_head", "gpt2_all_linear", "qwen3_all_linear"])(
    "come out of the same run twice, and with activations computed again: %s",
    async (name) => {
      const first = await train(name, steps(3));
      expect(same(await train(name, steps(3)), first)).toBe(true);
      const recomputed = steps(3, (run) => Object.assign(run.train, { gradient_checkpointing: true }));
      expect(same(await train(name, recomputed), first)).toBe(true);
    },
  );

  it("come out with dropout, and others with another seed", async () => {
    const withDropout = (seed: number) =>
      train(
        "gpt2_gelu",
        steps(3, ({ lora, train }) => {
          Object.assign(lora, { lora_dropout: 0.2 });
          Object.assign(train, { seed });
        }),
        { adapter: "none" },
      );
    const first = await withDropout(7);
    expect(same(await withDropout(7), first)).toBe(true);
    expect(same(await withDropout(8), first)).toBe(false);
    expect(same(await train("gpt2_gelu", steps(3), { adapter: "none" }), first)).toBe(false);
  });
});

describe("16-bit weights", () => {
  it.each(["gpt2_f16", "llama_bf16"])(
    "train alike, decoded while loading or in every kernel: %s",
    async (name) => {
      const [loading, reading] = [true, false].map((decodesWhileLoading) => ({
        traits: { decodesWhileLoading },
      }));
      const first = await train(name, steps(2), loading);
      expect(same(await train(name, steps(2), reading), first)).toBe(true);
    },
  );
});

describe("a device that binds less", () => {
  it("cuts micro-batches at sequence borders and the head into slices: the run is the same", async () => {
    const name = "llama_defaults";
    const whole = await train(name, steps(4));
    const cut = await train(name, steps(4), { traits: { maxBinding: 16384 } });
    expect(cut.submits).toBeGreaterThan(whole.submits);
    expect(largestDifference(cut.losses, whole.losses)).toBeLessThan(1e-6);
  });

  it("refuses a row that is too long, with the length that fits", async () => {
    await expect(open("llama_all_linear", steps(1), { traits: { maxBinding: 8192 } })).rejects.toThrow(
      /A row has \d+ tokens; on this device the widest activation leaves room for \d+\. Set max_length to \d+ or less/,
    );
  });
});

describe("packing", () => {
  it("puts rows that fit into one micro-batch", async () => {
    const { session } = await open(
      "llama_all_linear",
      ({ train }) => void Object.assign(train, { max_steps: -1, num_train_epochs: 1, packing: true }),
    );
    const { session: unpacked } = await open(
      "llama_all_linear",
      ({ train }) => void Object.assign(train, { max_steps: -1, num_train_epochs: 1 }),
    );
    expect(session.summary.steps).toBeLessThan(unpacked.summary.steps);
    await session.prepare();
    await session.run(() => {});
    const trained = session.reports.reduce((sum, { tokens }) => sum + tokens, 0);
    expect(trained).toBe(session.summary.tokenised.targets);
    session.destroy();
  });
});

describe("a run that is stopped", () => {
  it("goes on where it stood, and ends as if it had not been", async () => {
    const whole = await train("gpt2_gelu", steps(6));
    const { session } = await open("gpt2_gelu", steps(6));
    await session.prepare();
    await session.run(
      () => {},
      () => session.reports.length >= 1,
    );
    const taken = session.reports.length;
    expect(taken).toBeLessThan(6);
    await session.run(() => {});
    expect(session.reports.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    const files = await session.files(facts);
    expect(Buffer.compare(files.get("adapter_model.safetensors")!, whole.adapter)).toBe(0);
    session.destroy();
  });

  it("that diverges says so, and gives nothing away as an adapter", async () => {
    const { session } = await open(
      "gpt2_gelu",
      steps(30, ({ train }) => Object.assign(train, { learning_rate: 1e30, max_grad_norm: 0 })),
    );
    await session.prepare();
    await expect(session.run(() => {})).rejects.toThrow(/has diverged/);
    await expect(session.files(facts)).rejects.toThrow(/has diverged/);
    session.destroy();
  });
});

describe("a slow device", () => {
  it("gets its list in pieces that end within the budget, and the same bytes come out", async () => {
    const whole = await train("gpt2_gelu", steps(8));
    // Nothing ends in no time, so the list is halved until each dispatch is a submit of its own.
    const cut = await train("gpt2_gelu", steps(8), { submitMs: 0 });
    expect(cut.submits).toBeGreaterThan(whole.submits);
    expect(same(cut, whole)).toBe(true);
  });
});

async function tensorsOf(path: string): Promise<Map<string, Float32Array>> {
  const { tensors } = await openSafetensors(arraySource(readFileSync(path), path));
  const values = new Map<string, Float32Array>();
  for (const [name, tensor] of tensors) values.set(name, toFloat32(await tensor.read(), tensor.dtype));
  return values;
}

async function afterOneStep(name: string): Promise<Session> {
  const { session } = await open(name, steps(1));
  await session.prepare();
  await session.run(() => {});
  return session;
}

describe("PEFT's own figures", () => {
  it.each(["llama_all_linear", "llama_odd_whole", "qwen3_norms"])(
    "of every gradient of the first step: %s",
    async (name) => {
      const session = await afterOneStep(name);
      const wanted = await tensorsOf(`${DUMPS}/runs/${name}/gradients.safetensors`);
      expect(wanted.size).toBe(session.summary.trainable.length);
      for (const [key, values] of wanted) {
        const found = await session.adapted.read(key, "gradients");
        expect(largestDifference(found, values), key).toBeLessThan(1e-4);
      }
      session.destroy();
    },
  );

  it.each([
    "llama_all_linear",
    "llama_untied_head",
    "mistral_window",
    "qwen2_layers",
    "qwen3_all_linear",
    "gpt2_all_linear",
  ])("of the logits that its final adapter gives: %s", async (name) => {
    const { session } = await open(name, () => {}, { adapter: "final" });
    const { ids, logits } = JSON.parse(readFileSync(`${DUMPS}/runs/${name}/logits.json`, "utf8")) as {
      ids: number[];
      logits: number[][];
    };
    const found = await session.logits(Uint32Array.from(ids));
    expect(
      largestDifference(
        found.flatMap((row) => [...row]),
        logits.flat(),
      ),
    ).toBeLessThan(1e-5);
    session.destroy();
  });
});
