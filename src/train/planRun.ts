/** A run's parts, put together: what trains, the steps, the looks at the model between them, the audit. */
import type { Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import { withRequiresGrad } from "../lora/requiresGrad.ts";
import type { Selection } from "../lora/selection.ts";
import { selectModules } from "../lora/targets.ts";
import type { FrozenWeights } from "../models/frozen.ts";
import type { Model } from "../models/model.ts";
import { AdaptedModel } from "./adaptedModel.ts";
import { Audit } from "./audit.ts";
import { Evaluator } from "./evaluator.ts";
import { initialValues } from "./initialValues.ts";
import type { OpenedAdapter } from "./openAdapter.ts";
import type { OpenedModel } from "./openModel.ts";
import type { RunConfig } from "./runFile.ts";
import type { RunTokens } from "./runTokens.ts";
import { Sampler } from "./sampler.ts";
import { Trainer, type TrainerOptions } from "./trainer.ts";
import { Watch } from "./watch.ts";

/** What a run consists of, planned and not yet on the device. */
export interface PlannedRun {
  readonly adapted: AdaptedModel;
  readonly trainer: Trainer;
  readonly watch: Watch;
  readonly audit: Audit;
  readonly tokens: RunTokens;
}

/** What was opened for a run. */
export interface RunMaterial {
  readonly opened: OpenedModel;
  readonly run: RunConfig;
  readonly tokens: RunTokens;
  /** The adapter that is gone on from. */
  readonly loaded: OpenedAdapter | undefined;
}

/** Where a run takes place; `frozen` is the base on the device, where others read it too. */
export interface RunDevice {
  readonly gpu: Gpu;
  readonly kernels: Kernels;
  readonly frozen: FrozenWeights | undefined;
}

export type PlanOptions = Pick<TrainerOptions, "onProgress" | "submitMs">;

/** Traces and plans. Throws ConfigError where the run file does not fit the model, or nothing would train. */
export function planRun(
  { gpu, kernels, frozen }: RunDevice,
  { opened, run, tokens, loaded }: RunMaterial,
  options: PlanOptions,
): PlannedRun {
  const { model } = opened;
  const { train } = run;
  const selection = selectionOf(model, run, loaded);
  const adapted = new AdaptedModel({
    ...{ gpu, kernels, model, frozen, selection },
    loraDropout: (loaded?.files.config ?? run.lora).lora_dropout,
    initial: initialValues(model, selection, run, loaded?.adapter),
  });
  const trainer = new Trainer({ adapted, train, rows: tokens.rows.rows, ...options });
  const { samples } = train;
  const watch = new Watch({
    ...{ adapted, train, steps: trainer.steps },
    evaluator: tokens.heldOut && new Evaluator(adapted, tokens.heldOut.rows),
    sampler: samples ? new Sampler(adapted, opened, samples, tokens.sampled) : undefined,
  });
  return { adapted, trainer, watch, audit: new Audit(adapted, trainer, train), tokens };
}

/** What trains: by the adapter that is gone on from, or else by the run file. */
function selectionOf(model: Model, { lora, train }: RunConfig, loaded: OpenedAdapter | undefined): Selection {
  const { modelType } = model.config;
  const chosen =
    loaded?.adapter.selection ??
    selectModules(model.modules, lora, { modelType, origin: "run", path: "lora" });
  const { requires_grad } = train;
  if (!requires_grad) return chosen;
  return withRequiresGrad(chosen, model.namedParameters(), requires_grad, { path: "train" });
}
