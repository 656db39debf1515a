/** What was trained, in the forms that other tools read. */
import type { FileSet, FileStream } from "../base/bytes.ts";
import { readJsonObject } from "../base/read-json.ts";
import { chatTemplate, type FoundTemplate } from "../data/chat.ts";
import { modelfile, type TurnFrames, turnFrames } from "../data/modelfile.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import { tokenizerFiles } from "../data/tokenizerFiles.ts";
import { writeGguf } from "../formats/gguf-writer.ts";
import { copyStream, textStream } from "../formats/sources.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { ggufAdapter, refuseUnheld } from "../lora/exportGguf.ts";
import { readAdapter } from "../lora/readAdapter.ts";
import { ggufNames } from "../models/ggufNames.ts";
import { mergedCheckpoint } from "../models/mergedCheckpoint.ts";
import { mergedGguf } from "../models/mergedGguf.ts";
import { fitAdapter } from "./openAdapter.ts";
import type { OpenedModel } from "./openModel.ts";
import { type PlainAdapter, plainAdapter } from "./plainAdapter.ts";

export const EXPORT_FORMATS = [
  "peft",
  "gguf",
  "merged",
  "merged-gguf-f32",
  "merged-gguf-f16",
  "merged-gguf-q8_0",
] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

export type GgufFormat = Exclude<ExportFormat, "peft" | "merged">;

/** What is handed on: a base, and what was trained on it. */
export interface Handed {
  readonly opened: OpenedModel;
  /** The base's folder. */
  readonly base: FileSet;
  /** In PEFT's form, with what goes with it. */
  readonly adapter: FileSet;
  /** What Ollama knows the base model by. */
  readonly baseName: string;
  /** What a GGUF file is called. */
  ggufName(format: GgufFormat): string;
  /** How conversations are written; undefined where the model knows no way. */
  readonly template: FoundTemplate | undefined;
  readonly startTemplates: StartTemplatePort;
}

export interface ExportFiles {
  /** Made as they are taken. */
  readonly files: readonly FileStream[];
  /** Where the tool that reads them will not do what the model does. */
  readonly notes: readonly string[];
}

/** Throws FormatError or ConfigError where the format cannot hold what was trained. */
export async function exportFiles(format: ExportFormat, from: Handed): Promise<ExportFiles> {
  const { model, stopIds } = from.opened;
  switch (format) {
    case "peft": {
      const { adapter } = from;
      return { files: adapter.names().map((name) => copyStream(adapter.open(name)!)), notes: [] };
    }
    case "gguf": {
      await refuseEarly(from.adapter);
      const { metadata, tensors } = ggufAdapter((await plainOf(from)).files, ggufNames(model.config));
      const file = writeGguf(from.ggufName(format), metadata, tensors);
      return { files: [file, await modelfileOf(from, file, from.baseName)], notes: [] };
    }
    case "merged": {
      const { adapter } = await plainOf(from);
      return { files: await mergedCheckpoint(from.base, model, adapter, await tokenizerOf(from)), notes: [] };
    }
    default: {
      const { adapter } = await plainOf(from);
      const parts = { model, adapter, tokenizer: await tokenizerOf(from), stopIds };
      const { file, notes } = await mergedGguf(from.ggufName(format), GGUF_TYPES[format], parts);
      return { files: [file, await modelfileOf(from, file)], notes };
    }
  }
}

export const GGUF_TYPES = {
  "merged-gguf-f32": "F32",
  "merged-gguf-f16": "F16",
  "merged-gguf-q8_0": "Q8_0",
} as const;

/** Before it is fitted to its base: what no GGUF holds is the clearer answer. */
async function refuseEarly(adapter: FileSet): Promise<void> {
  const source = adapter.open(CONFIG_FILE);
  if (!source) return;
  // What it began as is no obstacle: with the base at hand it becomes plain LoRA.
  const { init_lora_weights: _, ...config } = await readJsonObject(source);
  refuseUnheld(config, adapter.label);
}

/** The adapter on its untouched base, whatever it began as. */
export async function plainOf({ adapter, opened: { model } }: Handed): Promise<PlainAdapter> {
  const files = await readAdapter(adapter);
  return plainAdapter({ files, adapter: await fitAdapter(files, model) }, model);
}

/** The tokenizer that goes with the adapter, else the base's. */
function tokenizerOf({ adapter, base, template }: Handed): Promise<Map<string, Uint8Array>> {
  return tokenizerFiles(adapter.open("tokenizer.json") ? adapter : base, template);
}

/** `base` where the file is an adapter. */
async function modelfileOf(from: Handed, file: FileStream, base?: string): Promise<FileStream> {
  const name = file.name.replace(/\.gguf$/, ".Modelfile");
  const frames = await framesOf(from);
  const text =
    base === undefined ? modelfile(`./${file.name}`, undefined, frames) : modelfile(base, file.name, frames);
  return textStream(name, text);
}

/** How the model's template frames turns, where it does no more than that. */
async function framesOf({ template, opened, startTemplates }: Handed): Promise<TurnFrames | undefined> {
  if (!template) return undefined;
  const chat = chatTemplate(template, opened.tokenizer, startTemplates);
  try {
    return await turnFrames(chat, opened.tokenizer);
  } finally {
    chat.close();
  }
}
