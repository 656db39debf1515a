/** GGUF adapters read back, and what is none. */

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { GraftError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { openGguf } from "../../src/formats/gguf.ts";
import type { GgufValue } from "../../src/formats/gguf-values.ts";
import { type GgufTensorToWrite, writeGguf } from "../../src/formats/gguf-writer.ts";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";
import { adapterDifference } from "../../src/lora/exportCheck.ts";
import { type AdapterFiles, readAdapter } from "../../src/lora/readAdapter.ts";
import { adapterOfGguf } from "../../src/lora/readGguf.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { ggufNames } from "../../src/models/ggufNames.ts";
import { bytesOf } from "../harness/streams.ts";

const FOLDER = new URL("../lora/fixtures/gguf/", import.meta.url);
const BASES = new URL("../../reference/dumps/bases/", import.meta.url);
const CASES = readdirSync(FOLDER).sort();

const bytesIn = (name: string, file: string) =>
  new Uint8Array(readFileSync(new URL(`${name}/${file}`, FOLDER)));

function namesOf(name: string) {
  const { base } = JSON.parse(readFileSync(new URL(`${name}/case.json`, FOLDER), "utf8")) as { base: string };
  const config = JSON.parse(readFileSync(new URL(`${base}/config.json`, BASES), "utf8")) as JsonObject;
  return ggufNames(parseModelConfig(config));
}

function peftAdapter(files: ReadonlyMap<string, Uint8Array>): Promise<AdapterFiles> {
  const sources = [...files].map(([name, bytes]) => [name, arraySource(bytes, name)] as const);
  return readAdapter(mapFileSet("adapter", new Map(sources)));
}

const original = (name: string) =>
  peftAdapter(
    new Map(["adapter_config.json", "adapter_model.safetensors"].map((file) => [file, bytesIn(name, file)])),
  );

const FILE = "adapter.gguf";
const open = (bytes: Uint8Array) => openGguf(arraySource(bytes, FILE));

/** A fixture's GGUF with other keys or tensors. */
async function altered(
  name: string,
  edit: (metadata: Map<string, GgufValue>, tensors: Map<string, GgufTensorToWrite>) => void,
) {
  const file = await open(bytesIn(name, "expected.gguf"));
  const metadata = new Map(file.metadata);
  const tensors = new Map<string, GgufTensorToWrite>();
  for (const tensor of file.tensors.values()) {
    const bytes = await tensor.read();
    const { type, shape } = tensor;
    tensors.set(tensor.name, { name: tensor.name, type, shape, pieces: () => [bytes] });
  }
  edit(metadata, tensors);
  return open(await bytesOf(writeGguf(FILE, metadata, [...tensors.values()])));
}

const readBack = async (name: string, file = open(bytesIn(name, "expected.gguf"))) =>
  peftAdapter(await adapterOfGguf(await file, namesOf(name), FILE));

describe("a GGUF adapter read back", () => {
  it.each(CASES)("is the adapter that PEFT has: %s", async (name) => {
    expect(await adapterDifference(await readBack(name), await original(name))).toBeLessThan(2e-7);
  });

  it("has the scale 1 where no alpha is written, as llama.cpp takes it", async () => {
    const { config } = await readBack(
      "llama",
      altered("llama", (metadata) => metadata.delete("adapter.lora.alpha")),
    );
    expect(config.lora_alpha / config.r).toBe(1);
  });

  it.each<[string, Parameters<typeof altered>[1]]>([
    ["another alpha", (metadata) => metadata.set("adapter.lora.alpha", { type: "f32", value: 7.001 })],
    [
      "two layers' pairs swapped",
      (_, tensors) => {
        for (const half of ["lora_a", "lora_b"]) {
          const [one, other] = [`blk.0.attn_k.weight.${half}`, `blk.1.attn_k.weight.${half}`];
          const [a, b] = [tensors.get(one)!, tensors.get(other)!];
          tensors.set(one, { ...b, name: one }).set(other, { ...a, name: other });
        }
      },
    ],
    [
      "rows in another order",
      (_, tensors) => {
        const one = tensors.get("blk.0.attn_q.weight.lora_b")!;
        const [bytes] = one.pieces() as Uint8Array[];
        const turned = new Uint8Array([...bytes!.subarray(12), ...bytes!.subarray(0, 12)]);
        tensors.set(one.name, { ...one, pieces: () => [turned] });
      },
    ],
    [
      "a pair less",
      (_, tensors) => {
        tensors.delete("blk.0.attn_k.weight.lora_a");
        tensors.delete("blk.0.attn_k.weight.lora_b");
      },
    ],
  ])("is told from one with %s", async (_, edit) => {
    const other = await readBack("llama", altered("llama", edit));
    expect(await adapterDifference(other, await original("llama"))).toBeGreaterThan(1e-4);
  });
});

describe("what is no adapter of the model is refused:", () => {
  it.each<[string, Parameters<typeof altered>[1], RegExp]>([
    [
      "a model",
      (m) => m.set("general.type", { type: "string", value: "model" }),
      /has model for general.type/,
    ],
    ["no type", (m) => m.delete("general.type"), /lacks general.type, expected "adapter"/],
    ["a control vector", (m) => m.set("adapter.type", { type: "string", value: "cv" }), /adapter.type/],
    [
      "another architecture",
      (m) => m.set("general.architecture", { type: "string", value: "gpt2" }),
      /has gpt2 for general.architecture, expected "llama"/,
    ],
    ["a negative alpha", (m) => m.set("adapter.lora.alpha", { type: "f32", value: -1 }), /the f32 -1/],
    ["an alpha of NaN", (m) => m.set("adapter.lora.alpha", { type: "f32", value: Number.NaN }), /NaN/],
    [
      "an alpha that is a word",
      (m) => m.set("adapter.lora.alpha", { type: "string", value: "7" }),
      /string 7/,
    ],
    ["half a pair", (_, t) => t.delete("blk.0.attn_q.weight.lora_a"), /without its other half/],
    ["the other half", (_, t) => t.delete("blk.0.attn_q.weight.lora_b"), /without its other half/],
    ["no pairs", (_, t) => t.clear(), /no pair/],
    [
      "a weight that the model lacks",
      (_, t) => {
        const one = t.get("blk.0.attn_q.weight.lora_a")!;
        t.set("x", { ...one, name: "blk.9.attn_q.weight.lora_a" });
      },
      /"blk\.9\.attn_q\.weight\.lora_a", which belongs to no weight/,
    ],
    [
      "halves that do not fit",
      (_, t) => {
        const one = t.get("blk.0.attn_q.weight.lora_a")!;
        t.set(one.name, { ...one, shape: [...one.shape].reverse() });
      },
      /are \[32,3\] and \[32,3\], expected \[3,32\] and \[32,3\]/,
    ],
  ])("%s", async (_, edit, says) => {
    const thrown = await readBack("llama", altered("llama", edit)).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(GraftError);
    expect((thrown as GraftError).message).toMatch(says);
    expect((thrown as GraftError).message).toContain(FILE);
  });
});
