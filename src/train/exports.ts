/** Exports, each read back and run before it is handed over. */
import type { ByteSource, FileSet, FileStream, StoredType } from "../base/bytes.ts";
import { type Failure, failure, GraftError } from "../base/errors.ts";
import type { WrittenGgmlType } from "../formats/ggml.ts";
import { openGguf } from "../formats/gguf.ts";
import { bytesFileSet, mapFileSet } from "../formats/sources.ts";
import { readAdapter } from "../lora/readAdapter.ts";
import { adapterOfGguf } from "../lora/readGguf.ts";
import type { Selection } from "../lora/selection.ts";
import { modelOfGguf } from "../models/ggufModel.ts";
import { ggufNames } from "../models/ggufNames.ts";
import type { Model } from "../models/model.ts";
import { AdaptedModel } from "./adaptedModel.ts";
import { EXPORT_FORMATS, type ExportFormat, exportFiles, GGUF_TYPES, type Handed } from "./exportFiles.ts";
import { engineValues } from "./initialValues.ts";
import { fitAdapter } from "./openAdapter.ts";
import { openModel } from "./openModel.ts";
import { type CheckOptions, compareWritten, type SelfCheck } from "./selfCheck.ts";

/** What is handed on, and how it runs. */
export interface Exportable extends Handed {
  readonly live: AdaptedModel;
  /** Token rows on which what was written must agree with what runs. */
  readonly prompts: readonly Uint32Array[];
}

/**
 * What the logits of an export may be off by. PEFT's files hold the very numbers. A GGUF adapter has one alpha; where
 * modules have different ones, B is multiplied and rounded to f32 once more: 6e-8 of each of its values. What began as
 * a part of the base is one pair of factors in a file and two as it runs, whose sums round elsewhere.
 *
 * A merged model adds in another order, and its matrices are rounded: in a checkpoint those that have changed, to the
 * base's type, in GGUF all. One rounding is off by u at most, relative to the value, and by u/√3 in the mean; those of M
 * matrices are independent of each other, so together they come to √M·u/√3. On the smallest models, which are the worst,
 * 0.4 to 1.5 of √M·u were found; 4 of it are allowed. Adapters with values drawn by chance, far larger than training makes
 * them, come to 7 in two cases of 102, which cannot be told from a fault.
 */
function limitsFor(format: ExportFormat, from: Exportable): Pick<CheckOptions, "allowed" | "rounded"> {
  switch (format) {
    case "peft": {
      const isFromBase = from.live.selection.lora.some(({ fromBase }) => fromBase !== null);
      return { allowed: isFromBase ? 1e-5 : 1e-6, rounded: false };
    }
    case "gguf":
      return { allowed: 1e-5, rounded: false };
    default: {
      const rounding = roundingOf(format, from);
      return { allowed: SUMMATION + 4 * rounding, rounded: rounding > 0 };
    }
  }
}

/** √M·u; 0 where no matrix is rounded. */
function roundingOf(
  format: Exclude<ExportFormat, "peft" | "gguf">,
  { live, opened: { model } }: Exportable,
): number {
  if (format === "merged") {
    const { lora, whole, tokens } = live.selection;
    const changed = new Set([...lora, ...whole, ...tokens].map(({ module }) => module.name));
    const roundings = [...changed].map((name) => ROUNDING[model.tensor(name, "weight").dtype] ?? 0);
    return Math.max(...roundings) * Math.sqrt(changed.size);
  }
  const matrices = model.modules.filter(({ parameters }) => parameters.weight?.length === 2);
  return (ROUNDING[GGUF_TYPES[format]] ?? 0) * Math.sqrt(matrices.length);
}

const SUMMATION = 1e-4;
/**
 * u. Of floats it is half the distance between neighbours, relative to them; of Q8_0 half a step, 1/254 of the largest
 * of 32 numbers, which is 2.3 times as large as they are in the mean.
 */
const ROUNDING: Partial<Record<StoredType | WrittenGgmlType, number>> = {
  F16: 2 ** -11,
  BF16: 2 ** -8,
  Q8_0: 2.3 / 254,
};

const CALLED: Readonly<Record<ExportFormat, string>> = {
  peft: "The adapter's folder",
  gguf: "The GGUF adapter",
  merged: "The merged checkpoint",
  "merged-gguf-f32": "The merged GGUF file",
  "merged-gguf-f16": "The merged GGUF file",
  "merged-gguf-q8_0": "The merged GGUF file",
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
  const { files } = await exportFiles(format, from);
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
  const open = () => openWritten(format, from, mapFileSet("the export", written));
  return compareWritten(from.live, open, from.prompts, {
    what: CALLED[format],
    ...limitsFor(format, from),
    signal,
  });
}

export interface ExportChoice {
  readonly format: ExportFormat;
  /** Of all its files. */
  readonly bytes: number;
  /** What it holds beside LoRA, and where the tool that reads it will not do what the model does. */
  readonly notes: readonly string[];
  /** Why the format cannot hold what was trained. */
  readonly refusal: Failure | undefined;
}

/** What each format would come to; nothing is made yet. */
export async function exportChoices(from: Exportable): Promise<ExportChoice[]> {
  return Promise.all(
    EXPORT_FORMATS.map(async (format): Promise<ExportChoice> => {
      try {
        const { files, notes } = await exportFiles(format, from);
        const held = format === "peft" ? wholeNotes(from.live.selection) : [];
        return { format, bytes: bytesOf(files), notes: [...held, ...notes], refusal: undefined };
      } catch (thrown) {
        if (!(thrown instanceof GraftError)) throw thrown;
        return { format, bytes: 0, notes: [], refusal: failure(thrown) };
      }
    }),
  );
}

/** Names that are told one by one. */
const SHOWN_NAMES = 4;

/** Whole tensors of the base model that trained: PEFT's folder holds every one that can. */
function wholeNotes({ whole }: Selection): string[] {
  const names = whole.map(({ module, parameter }) => `${module.name}.${parameter}`);
  if (names.length === 0) return [];
  const more = names.length > SHOWN_NAMES ? ` and ${names.length - SHOWN_NAMES} more` : "";
  return [`What trained whole is in it as well: ${names.slice(0, SHOWN_NAMES).join(", ")}${more}.`];
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
  const { config } = from.opened.model;
  switch (format) {
    case "peft":
      return adapterModel(from, written);
    case "gguf": {
      const name = from.ggufName(format);
      const files = await adapterOfGguf(await openGguf(written.open(name)!), ggufNames(config), name);
      return adapterModel(from, bytesFileSet(name, files));
    }
    case "merged":
      return wholeModel(from, (await openModel(written)).model);
    default: {
      const name = from.ggufName(format);
      return wholeModel(from, await modelOfGguf(await openGguf(written.open(name)!), config, name));
    }
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

/** A model that needs no base: its tensors go to the device beside those of the run. */
function wholeModel({ live: { gpu, kernels } }: Exportable, model: Model): AdaptedModel {
  const nothing = { lora: [], whole: [], tokens: [], modulesToSave: [] };
  const selection = { ...nothing, targetModules: [], warnings: [] };
  const initial = engineValues(model, { selection, values: new Map() });
  return new AdaptedModel({ gpu, kernels, model, selection, initial, loraDropout: 0, trains: false });
}
