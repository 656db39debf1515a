/** What the checks on PEFT's adapters share: one opened as a model, its logits compared, every export made of it. */
import type { FileSet, FileStream } from "../../src/base/bytes.ts";
import { requestNodeDevice } from "../../src/cli/device.ts";
import { openDirectory } from "../../src/cli/files.ts";
import { startTemplateThread } from "../../src/cli/templates.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { Kernels } from "../../src/gpu/kernels.ts";
import { reexportConfig } from "../../src/lora/exportConfig.ts";
import { readAdapter } from "../../src/lora/readAdapter.ts";
import { writeAdapter } from "../../src/lora/writeAdapter.ts";
import { AdaptedModel } from "../../src/train/adaptedModel.ts";
import { EXPORT_FORMATS, type ExportFormat } from "../../src/train/exportFiles.ts";
import { exportChecked } from "../../src/train/exports.ts";
import { engineValues } from "../../src/train/initialValues.ts";
import { logitsOf } from "../../src/train/logits.ts";
import { fitAdapter } from "../../src/train/openAdapter.ts";
import { type OpenedBase, openBase } from "../../src/train/openBase.ts";
import { withStarts } from "../../src/train/plainAdapter.ts";
import { checkPrompts, largestDifference } from "../../src/train/selfCheck.ts";
import { bytesOf } from "../harness/streams.ts";
import { DUMPS } from "./parityRun.ts";

/** What PEFT computes: logits of some ids. */
export interface Wanted {
  readonly base: string;
  readonly ids: readonly number[];
  readonly logits: readonly (readonly number[])[];
}

/** How far logits may be from PEFT's, as a part of the largest. */
export const LOGIT_LIMIT = 1e-5;

/** Every form that an adapter is handed on in, but for PEFT's own. */
export const OTHER_FORMATS = EXPORT_FORMATS.filter((format) => format !== "peft");

const node = await requestNodeDevice({ limits: "default" });
const gpu = new Gpu(node.device);
const kernels = new Kernels(gpu);
const bases = new Map<string, Promise<OpenedBase>>();

/** A base of reference/dumps, opened once. */
export function heldBase(name: string): Promise<OpenedBase> {
  const open = async () => openBase(gpu, kernels, await openDirectory(`${DUMPS}/bases/${name}`));
  if (!bases.has(name)) bases.set(name, open());
  return bases.get(name)!;
}

export interface HeldAdapter {
  readonly base: string;
  readonly files: FileSet;
  readonly live: AdaptedModel;
  /** The adapter as Graft writes it, by the names of its files. */
  readonly again: ReadonlyMap<string, Uint8Array>;
}

/** An adapter's folder as a model. Throws FormatError, ShapeError or ConfigError where Graft refuses it. */
export async function holdAdapter(folder: string, base: string): Promise<HeldAdapter> {
  const { opened, frozen } = await heldBase(base);
  const { model } = opened;
  const files = await openDirectory(folder);
  const read = await readAdapter(files);
  const adapter = await fitAdapter(read, model);
  const valuesOf = (key: string) => adapter.values.get(key)!;
  const again = await writeAdapter(reexportConfig(read.given), adapter.selection, valuesOf, adapter);
  const initial = engineValues(model, await withStarts(adapter, model));
  const live = new AdaptedModel({
    ...{ gpu, kernels, model, frozen, selection: adapter.selection, initial },
    ...{ loraDropout: 0, trains: false },
  });
  return { base, files, live, again };
}

/** The largest difference of logits, as a part of the largest logit. */
export async function logitDifference(model: AdaptedModel, { ids, logits }: Wanted): Promise<number> {
  const found = await logitsOf(model, Uint32Array.from(ids));
  const wanted = logits.map((row) => Float32Array.from(row));
  return largestDifference(found, wanted);
}

/** Hands the adapter on, with the check that no export goes without. Throws GraftError where it cannot be. */
export async function handOn(format: ExportFormat, { base, files, live }: HeldAdapter): Promise<void> {
  const { opened } = await heldBase(base);
  const { tokenizer, model, template } = opened;
  const handed = {
    ...{ opened, live, adapter: files, base: await openDirectory(`${DUMPS}/bases/${base}`) },
    ...{ template, startTemplates: startTemplateThread },
    ...{ baseName: "base", ggufName: () => "adapter.gguf" },
    prompts: checkPrompts([{ ids: Uint32Array.from(tokenizer.encode("Once upon a time")) }], model.config),
  };
  await exportChecked(format, handed, inMemory);
}

async function inMemory(file: FileStream) {
  return arraySource(await bytesOf(file), file.name);
}

/** Frees the device, so that the process can end. */
export function release(): void {
  node.device.destroy();
}
