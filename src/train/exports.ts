/** What was trained, in the forms that other tools read; each is read back and run before it is handed over. */
import type { ByteSource, FileSet, FileStream } from "../base/bytes.ts";
import { type Failure, failure, GraftError } from "../base/errors.ts";
import { chatTemplate, type FoundTemplate } from "../data/chat.ts";
import { modelfile, type TurnFrames, turnFrames } from "../data/modelfile.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import { openGguf } from "../formats/gguf.ts";
import { writeGguf } from "../formats/gguf-writer.ts";
import { arraySource, bytesFileSet, mapFileSet } from "../formats/sources.ts";
import { ggufAdapter } from "../lora/exportGguf.ts";
import { readAdapter } from "../lora/readAdapter.ts";
import { adapterOfGguf } from "../lora/readGguf.ts";
import { ggufNames } from "../models/ggufNames.ts";
import { AdaptedModel } from "./adaptedModel.ts";
import { engineValues } from "./initialValues.ts";
import { fitAdapter } from "./openAdapter.ts";
import type { OpenedModel } from "./openModel.ts";
import { compareWritten, type SelfCheck } from "./selfCheck.ts";

export const EXPORT_FORMATS = ["peft", "gguf"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** What is handed on: what was trained, as it runs and as PEFT writes it. */
export interface Exportable {
  readonly live: AdaptedModel;
  readonly opened: OpenedModel;
  /** In PEFT's form, with what goes with it. */
  readonly adapter: FileSet;
  /** What Ollama knows the base model by. */
  readonly baseName: string;
  /** What files are called that are not called as everyone calls them. */
  readonly name: string;
  /** How conversations are written; undefined where the model knows no way. */
  readonly template: FoundTemplate | undefined;
  readonly startTemplates: StartTemplatePort;
  /** Token rows on which what was written must agree with what runs. */
  readonly prompts: readonly Uint32Array[];
}

/** The files of an export, made as they are taken. Throws FormatError where the format cannot hold what was trained. */
export async function exportFiles(format: ExportFormat, from: Exportable): Promise<FileStream[]> {
  switch (format) {
    case "peft":
      return from.adapter.names().map((name) => fileStream(from.adapter.open(name)!));
    case "gguf": {
      const { metadata, tensors } = ggufAdapter(
        await readAdapter(from.adapter),
        ggufNames(from.opened.model.config),
      );
      const file = writeGguf(`${from.name}.gguf`, metadata, tensors);
      const recipe = modelfile(from.baseName, file.name, await framesOf(from));
      return [file, textStream(`${from.name}.Modelfile`, recipe)];
    }
    default:
      return format satisfies never;
  }
}

/**
 * What the logits of an export may be off by. PEFT's files hold the very numbers. A GGUF adapter has one alpha; where
 * modules have different ones, B is multiplied and rounded to f32 once more: 6e-8 of each of its values. What began as
 * a part of the base is one pair of factors in a file and two as it runs, whose sums round elsewhere.
 */
const ALLOWED: Readonly<Record<ExportFormat, number>> = { peft: 1e-6, gguf: 1e-5 };
const ALLOWED_OF_BASE = 1e-5;
const CALLED: Readonly<Record<ExportFormat, string>> = {
  peft: "The adapter's folder",
  gguf: "The GGUF adapter",
};

export interface ExportOptions {
  /** Bytes while files are written, then the check. */
  readonly onProgress?: ((stage: "write" | "check", done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes an export by `write`, which gives back what was written, and compares the logits of that with those of the
 * model as it runs. Throws where the format cannot hold it, and where what was written cannot be read back or is
 * another model; whoever writes then takes the files away again.
 */
export async function exportChecked(
  format: ExportFormat,
  from: Exportable,
  write: (file: FileStream) => Promise<ByteSource>,
  { onProgress, signal }: ExportOptions = {},
): Promise<SelfCheck> {
  const files = await exportFiles(format, from);
  const total = bytesOf(files);
  let done = 0;
  const onPiece = (bytes: number) => {
    signal?.throwIfAborted();
    done += bytes;
    onProgress?.("write", done, total);
  };
  const written = new Map<string, ByteSource>();
  for (const file of files) written.set(file.name, await write(watched(file, onPiece)));
  onProgress?.("check", 0, 1);
  const open = () => openWritten(format, from, mapFileSet(from.name, written));
  const isOfBase = from.live.selection.lora.some(({ fromBase }) => fromBase !== null);
  const allowed = isOfBase ? ALLOWED_OF_BASE : ALLOWED[format];
  return compareWritten(from.live, open, from.prompts, { what: CALLED[format], allowed });
}

export interface ExportChoice {
  readonly format: ExportFormat;
  /** Of all its files. */
  readonly bytes: number;
  /** Why the format cannot hold what was trained. */
  readonly refusal: Failure | undefined;
}

/** What each format would come to; nothing is made yet. */
export async function exportChoices(from: Exportable): Promise<ExportChoice[]> {
  return Promise.all(
    EXPORT_FORMATS.map(async (format): Promise<ExportChoice> => {
      try {
        return { format, bytes: bytesOf(await exportFiles(format, from)), refusal: undefined };
      } catch (thrown) {
        if (!(thrown instanceof GraftError)) throw thrown;
        return { format, bytes: 0, refusal: failure(thrown) };
      }
    }),
  );
}

function bytesOf(files: readonly FileStream[]): number {
  return files.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function watched({ name, byteLength, pieces }: FileStream, onPiece: (bytes: number) => void): FileStream {
  return {
    ...{ name, byteLength },
    async *pieces() {
      for await (const piece of pieces()) {
        onPiece(piece.byteLength);
        yield piece;
      }
    },
  };
}

/** What was written, ready to run. */
async function openWritten(format: ExportFormat, from: Exportable, written: FileSet): Promise<AdaptedModel> {
  switch (format) {
    case "peft":
      return adapterModel(from, written);
    case "gguf": {
      const file = await openGguf(written.open(`${from.name}.gguf`)!);
      const files = await adapterOfGguf(file, ggufNames(from.opened.model.config), from.name);
      return adapterModel(from, bytesFileSet(from.name, files));
    }
    default:
      return format satisfies never;
  }
}

/** An adapter's folder on the base as it lies on the device. */
async function adapterModel({ live, opened: { model } }: Exportable, files: FileSet): Promise<AdaptedModel> {
  const { gpu, kernels, frozen } = live;
  const adapter = await fitAdapter(await readAdapter(files), model);
  return new AdaptedModel({
    ...{ gpu, kernels, model, frozen, selection: adapter.selection, loraDropout: 0, trains: false },
    initial: engineValues(model, adapter),
  });
}

/** How the model's template frames turns, where it does no more than that. */
async function framesOf({ template, opened, startTemplates }: Exportable): Promise<TurnFrames | undefined> {
  if (!template) return undefined;
  const chat = chatTemplate(template, opened.tokenizer, startTemplates);
  try {
    return await turnFrames(chat, opened.tokenizer);
  } finally {
    chat.close();
  }
}

const PIECE_BYTES = 4 << 20;

function fileStream({ name, size, read }: ByteSource): FileStream {
  return {
    name,
    byteLength: size,
    async *pieces() {
      for (let at = 0; at < size; at += PIECE_BYTES) yield await read(at, Math.min(size, at + PIECE_BYTES));
    },
  };
}

function textStream(name: string, text: string): FileStream {
  return fileStream(arraySource(new TextEncoder().encode(text), name));
}
