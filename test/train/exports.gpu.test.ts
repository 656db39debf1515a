/** Every export is read back and run before it is handed over: what agrees, and what is refused. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FileStream } from "../../src/base/bytes.ts";
import { toFloat32 } from "../../src/formats/floats.ts";
import { openSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { BLOCK_BYTES } from "../../src/gpu/device.ts";
import type { ExportFormat } from "../../src/train/exportFiles.ts";
import { parseRunFile, type RunConfig } from "../../src/train/runFile.ts";
import { keptShare, largestDifference } from "../../src/train/selfCheck.ts";
import type { Session } from "../../src/train/session.ts";
import { testDevice } from "../harness/device.ts";
import { bytesOf } from "../harness/streams.ts";
import { DUMPS, openParitySession, type ParityOptions } from "./parityRun.ts";

const on = testDevice();

const facts = { baseModel: "bases/tiny", dataset: "rows", device: null };
const WEIGHTS = "adapter_model.safetensors";

/** After two large steps. */
async function trained(name: string, learning_rate = 0.02, how?: ParityOptions): Promise<Session> {
  const change = ({ train }: RunConfig) =>
    Object.assign(train, { max_steps: 2, learning_rate, warmup_steps: 0 });
  const session = await openParitySession(on.gpu, on.kernels, name, change, how);
  await session.prepare();
  await session.run(() => {});
  return session;
}

type Spoil = (bytes: Uint8Array, name: string) => Uint8Array | Promise<Uint8Array>;

/** Keeps what is written in memory, spoilt on the way where a test wants that. */
function keeping(spoil: Spoil = (bytes) => bytes) {
  const files = new Map<string, Uint8Array>();
  const write = async (file: FileStream) => {
    const bytes = await bytesOf(file);
    expect(bytes.length).toBe(file.byteLength);
    const kept = await spoil(bytes, file.name);
    files.set(file.name, kept);
    return arraySource(kept, file.name);
  };
  return { files, write };
}

describe("an export", () => {
  it.each<[name: string, format: ExportFormat]>([
    ["llama_all_linear", "peft"],
    ["llama_dora", "peft"],
    ["gpt2_whole", "peft"],
    ["gpt2_bias_all", "peft"],
    ["llama_rank_pattern", "gguf"],
    ["gpt2_all_linear", "gguf"],
    ["llama_dora", "merged"],
    ["gpt2_all_linear", "merged"],
    ["llama_tied_head", "merged"],
    ["gpt2_bias_all", "merged"],
    ["llama_bf16", "merged"],
    ["gpt2_f16", "merged"],
    ["qwen2_bf16", "merged"],
    ["qwen2_olora", "peft"],
    ["llama_pissa", "gguf"],
    ["gpt2_pissa", "merged"],
    ["mistral_requires_grad", "peft"],
    ["gpt2_requires_grad", "merged"],
    ["qwen2_tokens", "peft"],
    ["llama_tokens", "merged"],
    ["llama_tied_head", "merged-gguf-f32"],
    ["llama_llama3", "merged-gguf-f32"],
    ["gpt2_dora", "merged-gguf-f32"],
    ["qwen3_all_linear", "merged-gguf-f32"],
    ["llama_all_linear", "merged-gguf-f16"],
    ["gpt2_all_linear", "merged-gguf-f16"],
    ["llama_all_linear", "merged-gguf-q8_0"],
    ["qwen2_olora", "merged-gguf-q8_0"],
  ])("gives the logits of the run, and leaves the run as it was: %s as %s", async (name, format) => {
    const session = await trained(name);
    const before = await session.logits(Uint32Array.of(5, 9, 17));
    const held = on.gpu.totalBytes();
    const { files, write } = keeping();
    const check = await session.export(format, facts, write);
    if (process.env.GRAFT_PARITY) console.log(name, format, check);
    expect(check.difference).toBeLessThanOrEqual(check.allowed === 1e-6 ? 0 : check.allowed / 2);
    expect(Math.abs(check.kept - 1)).toBeLessThan(0.02);
    expect(check.moved).toBeGreaterThan(1e-3);
    expect(check.tokens).toBeGreaterThan(20);
    expect(on.gpu.totalBytes()).toBe(held);
    expect(await session.logits(Uint32Array.of(5, 9, 17))).toEqual(before);
    if (format === "gguf") expect([...files.keys()]).toEqual(["tiny-lora.gguf", "tiny-lora.Modelfile"]);
    session.destroy();
    expect(on.gpu.totalBytes()).toBe(BLOCK_BYTES);
  });
});

type Tensors = Map<string, { shape: readonly number[]; values: Float32Array }>;

/** Changes the tensors of a safetensors file. */
const inTensors =
  (change: (tensors: Tensors) => void): Spoil =>
  async (bytes, name) => {
    if (!name.endsWith(".safetensors")) return bytes;
    const file = await openSafetensors(arraySource(bytes, name));
    const tensors: Tensors = new Map();
    for (const [key, tensor] of file.tensors) {
      tensors.set(key, { shape: tensor.shape, values: toFloat32(await tensor.read(), tensor.dtype).slice() });
    }
    change(tensors);
    const written = [...tensors].map(([name, { shape, values }]) => {
      return { name, dtype: "F32" as const, shape, bytes: new Uint8Array(values.buffer) };
    });
    return writeSafetensors(written, { format: "pt" });
  };

const inConfig =
  (change: Record<string, unknown>): Spoil =>
  (bytes, name) => {
    if (name !== "adapter_config.json") return bytes;
    const config = JSON.parse(new TextDecoder().decode(bytes)) as object;
    return new TextEncoder().encode(JSON.stringify({ ...config, ...change }));
  };

const keyOf = (layer: number, half: string) =>
  `base_model.model.model.layers.${layer}.self_attn.q_proj.lora_${half}.weight`;

const FAULTS: Record<string, readonly [format: ExportFormat, spoil: Spoil, says: RegExp]> = {
  "a swapped pair": [
    "peft",
    inTensors((tensors) => {
      for (const half of ["A", "B"]) {
        const [one, other] = [keyOf(0, half), keyOf(1, half)];
        const kept = tensors.get(one)!;
        tensors.set(one, tensors.get(other)!);
        tensors.set(other, kept);
      }
    }),
    /differ from the trained model's by \S+ of the largest; 1\.0e-6 is allowed/,
  ],
  "another alpha": ["peft", inConfig({ lora_alpha: 17 }), /differ from the trained model's/],
  "rows that changed places": [
    "peft",
    inTensors((tensors) => {
      const { values, shape } = tensors.get(keyOf(1, "B"))!;
      const [, r] = shape as [number, number];
      const row = values.slice(0, r);
      values.copyWithin(0, r, 2 * r);
      values.set(row, r);
    }),
    /differ from the trained model's/,
  ],
  "one sign": [
    "peft",
    inTensors((tensors) => {
      tensors.get(keyOf(0, "B"))!.values[0]! *= -1;
    }),
    /differ from the trained model's/,
  ],
  "a value that is no number": [
    "peft",
    inTensors((tensors) => {
      tensors.get(keyOf(0, "A"))!.values[3] = Number.NaN;
    }),
    /holds NaN at index 3/,
  ],
  "missing bytes": [
    "peft",
    (bytes, name) => (name === WEIGHTS ? bytes.subarray(0, bytes.length - 4) : bytes),
    /adapter_model\.safetensors/,
  ],
  "a merged model's exchanged layers": [
    "merged",
    inTensors((tensors) => {
      const [one, other] = [0, 1].map((layer) => `model.layers.${layer}.mlp.down_proj.weight`);
      const kept = tensors.get(one!)!;
      tensors.set(one!, tensors.get(other!)!);
      tensors.set(other!, kept);
    }),
    /The merged checkpoint, read back, gave logits that differ/,
  ],
  "a merged model's value that is no number": [
    "merged",
    inTensors((tensors) => {
      tensors.get("model.layers.1.mlp.down_proj.weight")!.values[7] = Number.NaN;
    }),
    /differ from the trained model's by NaN/,
  ],
  "a merged model's missing bytes": [
    "merged",
    (bytes, name) => (name.endsWith(".safetensors") ? bytes.subarray(0, bytes.length - 8) : bytes),
    /model\.safetensors/,
  ],
  "a whole GGUF's missing bytes": [
    "merged-gguf-f32",
    (bytes, name) => (name.endsWith(".gguf") ? bytes.subarray(0, bytes.length - 32) : bytes),
    /tiny-merged-f32\.gguf/,
  ],
  "a whole GGUF's other base of rotation": [
    "merged-gguf-f32",
    (bytes, name) => (name.endsWith(".gguf") ? withF32(bytes, "llama.rope.freq_base", 500) : bytes),
    /has f32 "500" for llama\.rope\.freq_base/,
  ],
  "a whole GGUF's exchanged rows": [
    "merged-gguf-q8_0",
    (bytes, name) => (name.endsWith(".gguf") ? withRowsMoved(bytes) : bytes),
    /The merged GGUF file, read back, gave logits that differ/,
  ],
  "a GGUF's other alpha": [
    "gguf",
    (bytes, name) => (name.endsWith(".gguf") ? withF32(bytes, "adapter.lora.alpha", 17) : bytes),
    /The GGUF adapter, read back, gave logits that differ/,
  ],
  "a GGUF's missing bytes": [
    "gguf",
    (bytes, name) => (name.endsWith(".gguf") ? bytes.subarray(0, bytes.length - 32) : bytes),
    /tiny-lora\.gguf/,
  ],
};

/** Sets a number in a GGUF file's bytes: the key, its type (4 bytes), the f32. */
function withF32(bytes: Uint8Array, key: string, value: number): Uint8Array {
  const changed = bytes.slice();
  const at = Buffer.from(changed.buffer).indexOf(key) + key.length + 4;
  new DataView(changed.buffer).setFloat32(at, value, true);
  return changed;
}

/** Turns the last KiB of the file's last matrix but one round: blocks of Q8_0 that belong to other rows. */
function withRowsMoved(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  const from = changed.length - 4096;
  const part = changed.slice(from, from + 34 * 60);
  for (let block = 0; block < 60; block++) {
    changed.set(part.subarray(34 * block, 34 * (block + 1)), from + 34 * (59 - block));
  }
  return changed;
}

describe("what is not the trained model", () => {
  let session: Session;
  beforeAll(async () => {
    session = await trained("llama_all_linear");
  });
  afterAll(() => session.destroy());

  it.each(Object.entries(FAULTS))(
    "is refused for %s, and nothing is lost",
    async (_, [format, spoil, says]) => {
      const held = on.gpu.totalBytes();
      await expect(session.export(format, facts, keeping(spoil).write)).rejects.toThrow(says);
      expect(on.gpu.totalBytes()).toBe(held);
      const { difference, allowed } = await session.export(format, facts, keeping().write);
      expect(difference).toBeLessThan(allowed / 2);
    },
  );

  it.each(["write", "check"] as const)("nor is what was stopped at the stage %s", async (stage) => {
    const held = on.gpu.totalBytes();
    const stopping = new AbortController();
    const stopped = session.export("merged", facts, keeping().write, {
      signal: stopping.signal,
      onProgress: (now) => now === stage && stopping.abort(new Error("stopped")),
    });
    await expect(stopped).rejects.toThrow("stopped");
    expect(on.gpu.totalBytes()).toBe(held);
  });

  it("is refused where the form's numbers are too coarse for what was trained", async () => {
    // A start that changes nothing, and steps far smaller than the distance between two numbers of bf16.
    const hardly = await trained("llama_bf16", 1e-4, { adapter: "none" });
    const coarse = hardly.export("merged", facts, keeping().write);
    await expect(coarse).rejects.toThrow(/holds -?\d+ % of what training has changed/);
    const { kept } = await hardly.export("merged-gguf-f32", facts, keeping().write);
    expect(kept).toBeCloseTo(1, 1);
    hardly.destroy();
  });

  it("is refused, and f32 advised, where rounding changes a model more than a fault may", async () => {
    // Steps so large that attention takes one key or another for a hair's breadth.
    const touchy = await trained("llama_all_linear", 0.3);
    const coarse = touchy.export("merged-gguf-q8_0", facts, keeping().write);
    await expect(coarse).rejects.toThrow(/differ from the trained model's.*too coarse.*a form in f32/s);
    const { difference } = await touchy.export("merged-gguf-f32", facts, keeping().write);
    expect(difference).toBeLessThan(1e-4);
    touchy.destroy();
  });

  it("is told as what it is where the trained model itself gives no numbers", async () => {
    const change = ({ train }: RunConfig) => Object.assign(train, { max_steps: 1, learning_rate: 1e30 });
    const session = await openParitySession(on.gpu, on.kernels, "llama_all_linear", change);
    await session.prepare();
    await session.run(() => {});
    await expect(session.export("peft", facts, keeping().write)).rejects.toMatchObject({
      code: "not-finite",
      message: expect.stringContaining("the training has diverged"),
    });
    session.destroy();
  });

  it("is told as what it is where the trained model gives every token the logit 0", async () => {
    // Squared, what the values' projection adds is infinite, and the next norm leaves zeros of it.
    const change = ({ train }: RunConfig) => Object.assign(train, { max_steps: 1, learning_rate: 1e30 });
    const session = await openParitySession(on.gpu, on.kernels, "llama_defaults", change);
    await session.prepare();
    await session.run(() => {});
    await expect(session.export("peft", facts, keeping().write)).rejects.toMatchObject({
      code: "all-zero",
      remedy: "Train again with a lower learning_rate.",
    });
    session.destroy();
  });

  it("is refused by name where the format cannot hold it", async () => {
    const dora = await trained("llama_dora");
    const { files, write } = keeping();
    await expect(dora.export("gguf", facts, write)).rejects.toThrow(/use_dora true.*DoRA's magnitudes/);
    expect(files.size).toBe(0);
    dora.destroy();
  });
});

it("says which whole tensors PEFT's folder holds beside LoRA", async () => {
  const notesOf = async (name: string) => {
    const session = await openParitySession(on.gpu, on.kernels, name);
    await session.prepare();
    const choices = await session.exportChoices(facts);
    session.destroy();
    return choices.find(({ format }) => format === "peft")!.notes;
  };
  expect(await notesOf("llama_all_linear")).toEqual([]);
  expect(await notesOf("llama_tied_head")).toEqual(["What trained whole is in it as well: lm_head.weight."]);
  expect((await notesOf("gpt2_bias_all"))[0]).toMatch(/: transformer\.h\.0\.ln_1\.bias, .* and \d+ more\.$/);
});

it("counts a logit that is no number as a difference", () => {
  const wanted = [Float32Array.of(1, -4), Float32Array.of(2, 3)];
  expect(largestDifference([Float32Array.of(1, -4), Float32Array.of(2, 3.5)], wanted)).toBe(0.125);
  const broken = [Float32Array.of(Number.NaN, -4), Float32Array.of(2, 3)];
  expect(largestDifference(broken, wanted)).toBeNaN();
});

it("knows how much of a change is there, whatever noise is on it", () => {
  const [base, wanted] = [[Float32Array.of(0, 0, 1)], [Float32Array.of(2, -2, 1)]];
  expect(keptShare(wanted, base, wanted)).toBe(1);
  expect(keptShare(base, base, wanted)).toBe(0);
  expect(keptShare([Float32Array.of(2.5, -1.5, 9)], base, wanted)).toBe(1);
  expect(keptShare(base, base, base)).toBe(1);
});

it("has the tokenizer of the base in PEFT's folder, byte for byte", async () => {
  const session = await trained("llama_defaults");
  const { files, write } = keeping();
  await session.export("peft", facts, write);
  session.destroy();
  const base = `${DUMPS}/bases/llama`;
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    expect(Buffer.from(files.get(name)!).equals(readFileSync(`${base}/${name}`)), name).toBe(true);
  }
});

it("tells of the settings of the adapter that a run went on from, and not of what its run file leaves open", async () => {
  const open = (run: RunConfig) => Object.assign(run, parseRunFile({ train: { max_steps: 1 } }, "run.json"));
  const session = await openParitySession(on.gpu, on.kernels, "llama_dora", open, { adapter: "final" });
  await session.prepare();
  await session.run(() => {});
  const card = Buffer.from((await session.files(facts)).get("README.md")!).toString();
  session.destroy();
  expect(card).toContain("| went on from | final |");
  const { lora, train } = JSON.parse(/```json\n(.*)\n```/s.exec(card)![1]!);
  expect(lora).toMatchObject({ r: 8, lora_alpha: 16, use_dora: true });
  expect(train.max_steps).toBe(1);
});
