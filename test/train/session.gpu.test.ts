/** Whole runs against themselves and against PEFT's logits and gradients: what the losses alone would not tell. */
import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { toFloat32 } from "../../src/formats/floats.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { BLOCK_BYTES, type DeviceTraits, Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import type { EvaluationReport, Report, SampleReport } from "../../src/train/reports.ts";
import type { RunConfig } from "../../src/train/runFile.ts";
import { parseSamples } from "../../src/train/samples.ts";
import type { Session } from "../../src/train/session.ts";
import { testDevice } from "../harness/device.ts";
import { DUMPS, openParitySession, type ParityOptions } from "./parityRun.ts";

const on = testDevice();

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
  const gpu = new Gpu(on.device, traits);
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
  it.each(["llama_all_linear", "gpt2_bias_all", "llama_tied_head", "llama_dora_patterns"])(
    "is what was said before anything was allocated: %s",
    async (name) => {
      const { gpu, session } = await open(name, steps(1));
      const { memory } = session.summary;
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

  const nameOf = (report: Report): string =>
    "audit" in report ? "audit" : `${"eval_loss" in report ? "after " : ""}${report.step}`;

  it("are evaluated first, every eval_steps and last, counted in the memory, and train nothing", async () => {
    const every = steps(5, ({ train }) => Object.assign(train, { eval_steps: 2 }));
    const { gpu, session } = await open("gpt2_gelu", every, { heldOut });
    await session.prepare();
    const { memory } = session.summary;
    const found = Object.fromEntries(gpu.bytes);
    expect({ ...found, control: found.control! - BLOCK_BYTES }).toEqual(memory);
    const seen: string[] = [];
    const losses: number[] = [];
    await session.run((report) => {
      seen.push(nameOf(report));
      if ("eval_loss" in report) losses.push(report.eval_loss);
    });
    expect(seen).toEqual(["after 0", "1", "audit", "2", "after 2", "3", "4", "after 4", "5", "after 5"]);
    const files = await session.files(facts);
    const lines = Buffer.from(files.get("metrics.jsonl")!).toString().trim().split("\n");
    expect(lines.map((line) => nameOf(JSON.parse(line) as Report))).toEqual(seen);
    expect(new Set(losses).size).toBe(4);
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

describe("the best", () => {
  const heldOut = [{ text: "the tree grows by the river", line: 1 }];
  // So high a rate makes the held-out loss worse from some step on.
  const rate = { learning_rate: 0.5, lr_scheduler_type: "constant" };
  const overshooting = (more: object) =>
    steps(10, ({ train }) => Object.assign(train, { eval_steps: 2, ...rate, ...more }));

  /** Trains to the end; gives what was told of held-out rows after a step, and the session. */
  async function evaluated(more: object) {
    const { gpu, session } = await open("gpt2_gelu", overshooting(more), { heldOut });
    await session.prepare();
    const found: EvaluationReport[] = [];
    await session.run((report) => {
      if ("eval_loss" in report && report.step > 0) found.push(report);
    });
    return { gpu, session, found };
  }

  it("is kept and brought back at the end, counted in the memory, and named in the files", async () => {
    const { gpu, session, found } = await evaluated({ load_best_model_at_end: true });
    const { memory } = session.summary;
    expect(gpu.totalBytes() - BLOCK_BYTES).toBe(Object.values(memory).reduce((sum, bytes) => sum + bytes, 0));
    const best = found.reduce((least, report) => (report.eval_loss < least.eval_loss ? report : least));
    expect(best.step).toBeLessThan(10);
    expect(session.outcome).toEqual({
      steps: 10,
      finished: true,
      diverged: undefined,
      best: { step: best.step, metric: "eval_loss", value: best.eval_loss },
      adapterStep: best.step,
    });
    const files = await session.files(facts);
    expect(Buffer.from(files.get("README.md")!).toString()).toContain(
      `| values of | step ${best.step}, the best`,
    );
    const { adapter } = await train("gpt2_gelu", overshooting({ eval_steps: null, max_steps: best.step }));
    expect(Buffer.compare(files.get("adapter_model.safetensors")!, adapter)).toBe(0);
    session.destroy();
    expect(gpu.totalBytes()).toBe(BLOCK_BYTES);
  });

  it("is what a run ends with that diverges", async () => {
    const constant = ({ train }: RunConfig) => Object.assign(train, { lr_scheduler_type: "constant" });
    const keeping = steps(10, ({ train }) => {
      Object.assign(train, { lr_scheduler_type: "constant", eval_steps: 2, load_best_model_at_end: true });
    });
    const { session } = await open("gpt2_gelu", keeping, { heldOut });
    await session.prepare();
    const told: Report[] = [];
    await session.run((report) => {
      told.push(report);
      if (!("loss" in report) || report.step < 3) return;
      for (const chunk of session.adapted.chunks("parameters")) {
        on.device.queue.writeBuffer(chunk, 0, Float32Array.of(Number.NaN));
      }
    });
    const { steps: taken, finished, diverged, adapterStep } = session.outcome;
    expect(diverged?.message).toMatch(/^After \d steps the .+ is NaN: the run has diverged\.$/);
    expect(diverged?.remedy).toMatch(/^Start again with/);
    expect(taken).toBeLessThan(10);
    expect([finished, adapterStep]).toEqual([true, 2]);
    expect(told.at(-1)).toHaveProperty("diverged");
    const files = await session.files(facts);
    const text = (name: string) => Buffer.from(files.get(name)!).toString();
    expect(text("README.md")).toContain(
      `| optimizer steps | ${taken} of 10 |\n| ended | ${diverged!.message} |`,
    );
    const last = JSON.parse(text("metrics.jsonl").trim().split("\n").at(-1)!);
    expect(last).toMatchObject({ step: taken, diverged: diverged!.message });
    const { adapter } = await train("gpt2_gelu", steps(2, constant));
    expect(Buffer.compare(files.get("adapter_model.safetensors")!, adapter)).toBe(0);
    await session.run(() => expect.unreachable());
    session.destroy();
  });

  it("that does not come again for as long as the patience lasts ends the run", async () => {
    const { session, found } = await evaluated({ early_stopping_patience: 2 });
    const { steps: taken, finished, best, adapterStep } = session.outcome;
    expect(taken).toBeLessThan(10);
    expect(finished).toBe(true);
    expect(found.at(-1)!.step).toBe(taken);
    expect(best!.step).toBe(taken - 4);
    // Nobody asked for the best to be brought back.
    expect(adapterStep).toBe(taken);
    await session.run(() => expect.unreachable());
    session.destroy();
  });
});

describe("samples", () => {
  const sampling = (more: object = {}) =>
    steps(5, ({ train }) => {
      const samples = parseSamples(
        { prompts: ["the tree", "a"], every: 2, max_new_tokens: 6, ...more },
        "samples",
      );
      Object.assign(train, { samples });
    });

  async function sampled(change: Change) {
    const { gpu, session } = await open("gpt2_gelu", change, { adapter: "final" });
    await session.prepare();
    return { gpu, session };
  }

  it("are taken first, every so many steps and last, are told in the metrics, and change nothing", async () => {
    const { gpu, session } = await sampled(sampling());
    const { memory } = session.summary;
    const total = (): number => gpu.totalBytes() - BLOCK_BYTES;
    expect(total()).toBe(Object.values(memory).reduce((sum, bytes) => sum + bytes, 0));
    const told: SampleReport[] = [];
    await session.run((report) => {
      if ("samples" in report) told.push(report);
    });
    expect(told.map(({ step }) => step)).toEqual([0, 2, 4, 5]);
    for (const { samples } of told) expect(samples.map(({ prompt }) => prompt)).toEqual(["the tree", "a"]);
    const greedy = told.map(({ samples }) => samples.map((sample) => sample.greedy));
    expect(await session.answers([{ text: "the tree" }, { text: "a" }], { max_new_tokens: 6 })).toEqual(
      greedy[3],
    );
    expect(told[3]!.samples[0]!.sampled).not.toBe(greedy[3]![0]);
    const lines = Buffer.from((await session.files(facts)).get("metrics.jsonl")!).toString();
    expect(lines.split("\n").filter((line) => line.includes("samples"))).toEqual(
      told.map((report) => JSON.stringify(report)),
    );
    const alone = await train("gpt2_gelu", steps(5), { adapter: "final" });
    expect(session.reports.map(({ loss }) => loss)).toEqual(alone.losses);
    session.destroy();
    expect(gpu.totalBytes()).toBe(BLOCK_BYTES);
  });

  it("make nothing on the device after the first step, which is audited", async () => {
    const { gpu, session } = await sampled(sampling());
    await session.run(
      () => {},
      () => session.reports.length === 1,
    );
    const made: string[] = [];
    const makers = [
      "createBuffer",
      "createBindGroup",
      "createComputePipelineAsync",
      "createShaderModule",
    ] as const;
    for (const maker of makers) {
      vi.spyOn(gpu.device, maker).mockImplementation(() => {
        made.push(maker);
        throw new Error(`${maker} was called`);
      });
    }
    await session.run(() => {});
    vi.restoreAllMocks();
    expect(made).toEqual([]);
    session.destroy();
  });

  it("go on where the run does, and obey temperature, penalty and seed", async () => {
    const { session } = await sampled(sampling({ temperature: 0, every: 3 }));
    let told: SampleReport[] = [];
    const keep = (report: Report): void => void ("samples" in report && told.push(report));
    await session.run(keep, () => told.length > 0);
    await session.run(keep);
    expect(told.map(({ step }) => step)).toEqual([0, 3, 5]);
    expect(told[0]!.samples[0]!.sampled).toBeNull();
    session.destroy();
    const first = async (more: object) => {
      const opened = await sampled(sampling(more));
      told = [];
      await opened.session.run(keep, () => told.length > 0);
      opened.session.destroy();
      return told[0]!.samples;
    };
    const plain = await first({ temperature: 1 });
    expect(await first({ temperature: 1 })).toEqual(plain);
    const reseeded = await first({ temperature: 1, seed: 9 });
    expect(reseeded.map(({ sampled }) => sampled)).not.toEqual(plain.map(({ sampled }) => sampled));
    const penalised = await first({ repetition_penalty: 5 });
    expect(penalised.map(({ greedy }) => greedy)).not.toEqual(plain.map(({ greedy }) => greedy));
  });

  it("of a prompt that leaves no room are refused before anything is loaded", async () => {
    const long = sampling({ prompts: ["the tree ".repeat(60)] });
    await expect(open("gpt2_gelu", long)).rejects.toThrow(/Prompt 1 has \d+ tokens, expected 1 to 63/);
  });
});

describe("answers", () => {
  it("of the same lengths, asked for again and again, are the same", async () => {
    const { gpu, session } = await open("llama_all_linear", steps(1), { adapter: "final" });
    await session.prepare();
    const ask = (text: string) => session.answers([{ text }, { text: "a" }], { max_new_tokens: 8 });
    const first = await ask("the tree");
    const held = gpu.totalBytes();
    for (let again = 0; again < 3; again++) {
      expect(await ask("the tree")).toEqual(first);
      expect(gpu.totalBytes()).toBe(held);
    }
    session.destroy();
  });

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
  it.each(["llama_tied_head", "gpt2_all_linear", "qwen3_all_linear", "qwen2_dora_bias", "qwen2_embedding"])(
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

describe("DoRA", () => {
  it.each(["llama_dora", "gpt2_dora"])("starts as the base model, to the bit: %s", async (name) => {
    const { session } = await open(name, steps(1), { adapter: "none" });
    const plain = await open(name, ({ lora }) => Object.assign(lora, { use_dora: false }), {
      adapter: "none",
    });
    const ids = Uint32Array.of(5, 9, 17, 3);
    expect(await session.logits(ids)).toEqual(await plain.session.logits(ids));
    session.destroy();
    plain.session.destroy();
  });

  it("trains under dropout, and looks at what it has learnt without it", async () => {
    const dropping = steps(6, ({ lora }) => Object.assign(lora, { lora_dropout: 0.3 }));
    const first = await train("llama_dora", dropping, { adapter: "none" });
    expect(same(await train("llama_dora", dropping, { adapter: "none" }), first)).toBe(true);
    expect(same(await train("llama_dora", steps(6), { adapter: "none" }), first)).toBe(false);
    const { session } = await open("llama_dora", dropping, { adapter: "none" });
    await session.prepare();
    await session.run(() => {});
    const logits = await session.logits(Uint32Array.of(5, 9, 17));
    expect(await session.logits(Uint32Array.of(5, 9, 17))).toEqual(logits);
    session.destroy();
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
    // A busy machine halves long lists: not here.
    const submitMs = Number.POSITIVE_INFINITY;
    const whole = await train(name, steps(4), { submitMs });
    const cut = await train(name, steps(4), { submitMs, traits: { maxBinding: 12288 } });
    expect(cut.submits).toBeGreaterThan(whole.submits);
    expect(largestDifference(cut.losses, whole.losses)).toBeLessThan(1e-6);
  });

  it("cuts what trains row by row with the rows, where a vector's part can be bound", async () => {
    const short = steps(4, ({ train }) => Object.assign(train, { max_length: 16 }));
    const less = { traits: { maxBinding: 12288 } };
    const whole = await train("qwen3_dora_head", short);
    const cut = await train("qwen3_dora_head", short, less);
    expect(largestDifference(cut.losses, whole.losses)).toBeLessThan(1e-6);
    await expect(open("gpt2_bias_all", short, less)).rejects.toThrow("less than 64 rows of the matrix");
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

  const wild = ({ train }: RunConfig) => Object.assign(train, { learning_rate: 1e30, max_grad_norm: 0 });

  it("that diverges says so, and gives nothing away as an adapter", async () => {
    const { session } = await open("gpt2_gelu", steps(30, wild));
    await session.prepare();
    await expect(session.run(() => {})).rejects.toThrow(
      /^After 1 step the loss is NaN: the run has diverged/,
    );
    await expect(session.files(facts)).rejects.toThrow(/has diverged/);
    session.destroy();
  });

  it("that ends with the same logit for every token says so, though its loss is a number", async () => {
    const { session } = await open("llama_defaults", steps(30, wild));
    await session.prepare();
    // Another device may leave NaN where this one leaves zeros.
    await expect(session.run(() => {})).rejects.toThrow(/^After 1 step .*: the run has diverged/);
    expect(session.reports.map(({ step }) => step)).toEqual([1]);
    session.destroy();
  });

  it("whose last step breaks it says so of its held-out rows", async () => {
    const heldOut = [{ line: 1, text: "a row that is held out" }];
    const { session } = await open("gpt2_gelu", steps(1, wild), { heldOut });
    await session.prepare();
    await expect(session.run(() => {})).rejects.toThrow(/^After 1 step the held-out loss is NaN/);
    session.destroy();
  });

  it("that starts from what gives no numbers says that, and not that it diverged", async () => {
    const { session } = await open(
      "gpt2_gelu",
      steps(3, ({ lora }) => Object.assign(lora, { init_lora_weights: false, lora_alpha: 1e38 })),
      { adapter: "none" },
    );
    await session.prepare();
    await expect(session.run(() => {})).rejects.toMatchObject({ code: "start-not-finite" });
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
