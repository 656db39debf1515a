/** A base model with its tensors on the device, which runs and adapters on it share. */
import type { FileSet } from "../base/bytes.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import { stackAdapters } from "../lora/stack.ts";
import type { AdapterPart } from "../lora/strength.ts";
import { FrozenWeights } from "../models/frozen.ts";
import { AdaptedModel } from "./adaptedModel.ts";
import { engineValues } from "./initialValues.ts";
import { type OpenedModel, openModel } from "./openModel.ts";

export interface OpenedBase {
  readonly label: string;
  readonly gpu: Gpu;
  readonly kernels: Kernels;
  readonly opened: OpenedModel;
  /** Whoever opened the base destroys them, after all that read them. */
  readonly frozen: FrozenWeights;
}

/** Reads headers and config; the device holds nothing yet. */
export async function openBase(gpu: Gpu, kernels: Kernels, files: FileSet): Promise<OpenedBase> {
  const opened = await openModel(files);
  return { label: files.label, gpu, kernels, opened, frozen: new FrozenWeights(gpu) };
}

/** The base with adapters on, to be asked and not trained. The base's tensors stay where they are. */
export async function stackedModel(
  { gpu, kernels, opened: { model }, frozen }: OpenedBase,
  parts: readonly AdapterPart[],
): Promise<AdaptedModel> {
  const adapter = await stackAdapters(parts, model);
  return new AdaptedModel({
    ...{ gpu, kernels, model, frozen, selection: adapter.selection, loraDropout: 0, trains: false },
    initial: engineValues(model, adapter),
  });
}
