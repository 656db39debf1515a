/** Adapters at a strength, without some layers, and several at once. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openDirectory } from "../../src/cli/files.ts";
import { startTemplateThread } from "../../src/cli/templates.ts";
import { BLOCK_BYTES } from "../../src/gpu/device.ts";
import { layerOf } from "../../src/lora/matching.ts";
import type { AdapterPart } from "../../src/lora/strength.ts";
import { logitsOf } from "../../src/train/logits.ts";
import { type OpenedBase, openBase, stackedModel } from "../../src/train/openBase.ts";
import { AdapterShelf, type AdapterUse } from "../../src/train/shelf.ts";
import { testDevice } from "../harness/device.ts";
import { DUMPS, openParitySession, parityCase } from "./parityRun.ts";

const on = testDevice();

const ids = Uint32Array.of(5, 9, 17, 3, 44, 9);
const none: ReadonlySet<number> = new Set();

async function open(name: string): Promise<OpenedBase> {
  return openBase(on.gpu, on.kernels, await openDirectory(`${DUMPS}/bases/${parityCase(name).base}`));
}

async function logits(base: OpenedBase, parts: readonly AdapterPart[]): Promise<Float32Array[]> {
  const model = await stackedModel(base, parts);
  const found = await logitsOf(model, ids);
  model.destroy();
  return found;
}

/** Whether they are the same to the bit. */
function same(found: readonly Float32Array[], wanted: readonly Float32Array[]): boolean {
  expect(found.length).toBe(wanted.length);
  return found.every((row, i) => Buffer.compare(bytesOf(row), bytesOf(wanted[i]!)) === 0);
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

describe("an adapter's strength", () => {
  it.each([
    "llama_all_linear",
    "mistral_rslora",
    "llama_dora",
    "qwen2_dora_bias",
    "gpt2_dora",
    "qwen3_dora_head",
    "llama_untied_head",
    "llama_tied_head",
    "gpt2_whole",
    "qwen2_bias_all",
    "gpt2_lora_bias",
    "llama_embedding",
    "gpt2_embedding",
    "gpt2_dora_embedding",
    "gpt2_tokens",
    "qwen3_tokens_head",
    "llama_pissa",
    "qwen2_olora",
    "qwen3_pissa_dora",
  ])("0 is the base and 1 the trained model, to the bit, and the training stands still: %s", async (name) => {
    const base = await open(name);
    const bare = await logits(base, []);
    const session = await openParitySession(on.gpu, on.kernels, name, () => {}, {
      adapter: "final",
      opened: base,
    });
    const tuned = await session.logits(ids);
    expect(same(tuned, bare)).toBe(false);
    const adapter = await session.trained();
    const at = (strength: number, layersOff = none) => logits(base, [{ adapter, strength, layersOff }]);
    const held = on.gpu.bytes.get("base");
    expect(same(await at(0), bare)).toBe(true);
    expect(same(await at(1), tuned)).toBe(true);
    for (const strength of [0.5, 2]) {
      const between = await at(strength);
      expect(same(between, bare)).toBe(false);
      expect(same(between, tuned)).toBe(false);
    }
    const { lora, whole, tokens } = adapter.selection;
    const layers = [...lora, ...whole, ...tokens].map(({ module }) => layerOf(module.name));
    const off = new Set(layers.filter((layer) => layer !== undefined));
    if (off.size === new Set(layers).size) expect(same(await at(1, off), bare)).toBe(true);
    if (off.size > 1) expect(same(await at(1, new Set([1])), tuned)).toBe(false);
    expect(same(await session.logits(ids), tuned)).toBe(true);
    expect(on.gpu.bytes.get("base")).toBe(held);
    session.destroy();
    base.frozen.destroy();
    expect(on.gpu.totalBytes()).toBe(BLOCK_BYTES);
  });

  it.each([
    "llama_all_linear",
    "llama_dora",
    "gpt2_whole",
    "qwen2_bias_all",
    "llama_embedding",
    "qwen3_pissa_dora",
    "mistral_olora",
  ])("does nothing before the first step: %s", async (name) => {
    const base = await open(name);
    const session = await openParitySession(on.gpu, on.kernels, name, () => {}, {
      adapter: "none",
      opened: base,
    });
    const bare = await logits(base, []);
    expect(same(await session.logits(ids), bare)).toBe(true);
    session.destroy();
    base.frozen.destroy();
  });

  it("from 0 to 2 is taken, nothing else", async () => {
    const base = await open("llama_all_linear");
    const adapter = {
      selection: { lora: [], whole: [], tokens: [], targetModules: [], modulesToSave: null, warnings: [] },
      values: new Map(),
    };
    for (const strength of [-0.1, 2.1, Number.NaN])
      await expect(logits(base, [{ adapter, strength, layersOff: none }])).rejects.toThrow("expected 0 to 2");
    base.frozen.destroy();
  });
});

interface Reference {
  /** PEFT's own sum of plain LoRAs, or bases of merged weights added up in float64. */
  readonly how: "cat" | "merged";
  readonly base: string;
  readonly adapters: readonly { readonly run: string; readonly weight: number }[];
  readonly ids: readonly number[];
  /** Which tokens' logits there are. */
  readonly rows: readonly number[];
  readonly logits: readonly (readonly number[])[];
}

const references = JSON.parse(
  readFileSync(new URL("fixtures/stacks.json", import.meta.url), "utf8"),
) as Reference[];

describe("several adapters", () => {
  it.each(references.map((one) => ({ ...one, what: one.adapters.map(({ run }) => run).join(" + ") })))(
    "are what PEFT makes of them, $how: $what",
    async (wanted) => {
      const base = await openBase(on.gpu, on.kernels, await openDirectory(`${DUMPS}/bases/${wanted.base}`));
      const shelf = new AdapterShelf(base, startTemplateThread);
      const uses: AdapterUse[] = [];
      for (const { run, weight } of wanted.adapters) {
        const { id } = await shelf.open(await openDirectory(`${DUMPS}/runs/${run}/final`));
        uses.push({ id, strength: weight });
      }
      const model = await shelf.model(uses);
      const found = await logitsOf(model, Uint32Array.from(wanted.ids));
      model.destroy();
      base.frozen.destroy();
      // PEFT takes such a start from its weights in f32, whose singular vectors are off by up to some 1e-5.
      const allowed = wanted.adapters.some(({ run }) => /pissa|olora/.test(run)) ? 5e-5 : 1e-5;
      const largest = Math.max(...wanted.logits.flat().map(Math.abs));
      for (const [i, row] of wanted.rows.entries()) {
        for (const [j, value] of wanted.logits[i]!.entries()) {
          expect(Math.abs(found[row]![j]! - value)).toBeLessThan(allowed * largest);
        }
      }
    },
  );
});
