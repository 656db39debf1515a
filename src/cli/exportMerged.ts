/** `--to merged` and `--to merged-gguf`: base and adapter as one checkpoint or one GGUF file, written as it is made. */
import { createWriteStream } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { FileSet, FileStream } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import { findChatTemplate } from "../data/chat.ts";
import { modelfile } from "../data/modelfile.ts";
import { tokenizerFiles } from "../data/tokenizerFiles.ts";
import type { WrittenGgmlType } from "../formats/ggml.ts";
import { type LoadedAdapter, readAdapter } from "../lora/readAdapter.ts";
import { mergedCheckpoint } from "../models/mergedCheckpoint.ts";
import { mergedGguf } from "../models/mergedGguf.ts";
import { fitAdapter } from "../train/openAdapter.ts";
import type { OpenedModel } from "../train/openModel.ts";
import { plainAdapter } from "../train/plainAdapter.ts";
import { framesOf, writeModelfile } from "./modelfile.ts";

/** A base, an adapter that fits it, and the tokenizer that goes with the two. */
interface Parts {
  readonly base: FileSet;
  readonly opened: OpenedModel;
  readonly adapter: LoadedAdapter;
  readonly tokenizer: ReadonlyMap<string, Uint8Array>;
}

async function openParts(base: FileSet, opened: OpenedModel, adapterFiles: FileSet): Promise<Parts> {
  const { model } = opened;
  const files = await readAdapter(adapterFiles);
  const { adapter } = await plainAdapter({ files, adapter: await fitAdapter(files, model) }, model);
  for (const warning of adapter.warnings) console.log(`note       ${warning}`);
  const ownTokenizer = adapterFiles.open("tokenizer.json") ? adapterFiles : base;
  const tokenizer = await tokenizerFiles(ownTokenizer, await findChatTemplate(adapterFiles));
  return { base, opened, adapter, tokenizer };
}

export async function exportMerged(
  base: FileSet,
  opened: OpenedModel,
  adapterFiles: FileSet,
  out: string,
): Promise<void> {
  const parts = await openParts(base, opened, adapterFiles);
  await refuseFilled(out);
  const files = await mergedCheckpoint(base, opened.model, parts.adapter, parts.tokenizer);
  for (const file of files) await writeStream(join(out, file.name), file);
  const bytes = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  console.log(`merged     ${out}, ${files.length} files, ${bytes} bytes`);
}

export async function exportMergedGguf(
  base: FileSet,
  opened: OpenedModel,
  adapterFiles: FileSet,
  out: string,
  type: WrittenGgmlType,
): Promise<void> {
  const { model, stopIds } = opened;
  const { adapter, tokenizer } = await openParts(base, opened, adapterFiles);
  const { file, notes } = await mergedGguf(basename(out), type, { model, adapter, tokenizer, stopIds });
  await writeStream(out, file);
  console.log(`merged     ${out}, ${file.byteLength} bytes`);
  for (const note of notes) console.log(`note       ${note}`);
  await writeModelfile(out, modelfile(`./${basename(out)}`, undefined, await framesOf(adapterFiles, opened)));
}

/** The base itself may be what is there. */
async function refuseFilled(folder: string): Promise<void> {
  const there = await readdir(folder).catch(() => []);
  if (there.length === 0) return;
  throw new ConfigError(
    "out-filled",
    `--out ${folder} holds ${there.length} files already.`,
    "Name a folder that is empty or not there yet.",
  );
}

/** Writes a file as it is made; one that fails on the way is taken away again. */
export async function writeStream(path: string, file: FileStream): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  try {
    await pipeline(file.pieces(), createWriteStream(path));
  } catch (thrown) {
    await rm(path, { force: true });
    throw thrown;
  }
}
