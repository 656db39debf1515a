/** The merged cases of reference/verify_merged.py and verify_merged_gguf.py. */
import { readdirSync, readFileSync } from "node:fs";
import type { FileSet } from "../../src/base/bytes.ts";
import { findChatTemplate } from "../../src/data/chat.ts";
import { tokenizerFiles } from "../../src/data/tokenizerFiles.ts";
import { openCheckpointTensors } from "../../src/formats/checkpoint.ts";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";
import { loadAdapter, readAdapter } from "../../src/lora/readAdapter.ts";
import { parseModelConfig } from "../../src/models/config.ts";
import { Model } from "../../src/models/model.ts";

const FIXTURES = "test/models/fixtures/merged";
export const BASES = "reference/dumps/bases";
export const MERGED_CASES = readdirSync(FIXTURES).sort();

export interface MergedCase {
  readonly base: string;
  /** Of each file of the checkpoint. */
  readonly sha256: Readonly<Record<string, string>>;
  /** Of the GGUF file of each type. */
  readonly gguf: Readonly<Record<"f32" | "f16" | "q8_0", string>>;
}

export const mergedCase = (name: string) =>
  JSON.parse(readFileSync(`${FIXTURES}/${name}/merged.json`, "utf8")) as MergedCase;

export function folder(path: string, edit: (files: Map<string, Uint8Array>) => void = () => {}): FileSet {
  const files = new Map(
    readdirSync(path).map((name) => [name, new Uint8Array(readFileSync(`${path}/${name}`))]),
  );
  edit(files);
  return mapFileSet(path, new Map([...files].map(([name, bytes]) => [name, arraySource(bytes, name)])));
}

/** A case's base, its adapter, and the tokenizer of the two. */
export async function openCase(name: string, base = folder(`${BASES}/${mergedCase(name).base}`)) {
  const files = folder(`${FIXTURES}/${name}`);
  const config = base.open("config.json")!;
  const json = JSON.parse(new TextDecoder().decode(await config.read(0, config.size))) as unknown;
  const model = new Model(parseModelConfig(json), await openCheckpointTensors(base));
  const adapter = await loadAdapter(await readAdapter(files), model.modules, model.config.modelType, (name) =>
    model.stored(name),
  );
  const tokenizer = await tokenizerFiles(base, await findChatTemplate(files));
  return { base, model, adapter, tokenizer };
}
