/** Merged checkpoints against the bytes that Transformers was shown to take rightly (reference/verify_merged.py). */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { FileSet, FileStream } from "../../src/base/bytes.ts";
import { mergedCheckpoint } from "../../src/models/mergedCheckpoint.ts";
import { bytesOf } from "../harness/streams.ts";
import { BASES, folder, MERGED_CASES, mergedCase, openCase } from "./merged.ts";

async function merged(name: string, given?: FileSet) {
  const { base, model, adapter, tokenizer } = await openCase(name, given);
  return mergedCheckpoint(base, model, adapter, tokenizer);
}

async function textOf(streams: readonly FileStream[], name: string): Promise<string> {
  return new TextDecoder().decode(await bytesOf(streams.find((stream) => stream.name === name)!));
}

describe("a merged checkpoint", () => {
  it.each(MERGED_CASES)("has the files that Transformers agrees with PEFT on: %s", async (name) => {
    const hashes: Record<string, string> = {};
    for (const stream of await merged(name)) {
      const bytes = await bytesOf(stream);
      expect(bytes.length, stream.name).toBe(stream.byteLength);
      hashes[stream.name] = createHash("sha256").update(bytes).digest("hex");
    }
    expect(hashes).toEqual(mergedCase(name).sha256);
  });

  it("says in its config that the head is no longer the embedding, and nothing else", async () => {
    const before = readFileSync(`${BASES}/llama_tied/config.json`, "utf8");
    const config = await textOf(await merged("tied_embedding"), "config.json");
    expect(config).toBe(before.replace('"tie_word_embeddings": true', '"tie_word_embeddings": false'));
    const silent = await textOf(await merged("gpt2_hub_embedding"), "config.json");
    expect(JSON.parse(silent)).toEqual({
      ...(JSON.parse(readFileSync(`${BASES}/gpt2_hub/config.json`, "utf8")) as object),
      tie_word_embeddings: false,
    });
  });

  it("refuses a config that states it twice: which one counts is not known to every reader", async () => {
    const twice = folder(`${BASES}/llama_tied`, (files) => {
      const text = new TextDecoder().decode(files.get("config.json"));
      const again = text.replace("{", '{"tie_word_embeddings": true,');
      files.set("config.json", new TextEncoder().encode(again));
    });
    await expect(merged("tied_embedding", twice)).rejects.toThrow(/does not state tie_word_embeddings once/);
  });

  it("brings the base's licence", async () => {
    const licensed = folder(`${BASES}/llama_tied`, (files) => {
      files.set("LICENSE.txt", new TextEncoder().encode("free")).set("notes.txt", new Uint8Array(3));
    });
    const streams = await merged("tied_embedding", licensed);
    expect(await textOf(streams, "LICENSE.txt")).toBe("free");
    expect(streams.some(({ name }) => name === "notes.txt")).toBe(false);
  });
});
