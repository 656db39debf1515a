/**
 * A training run: traced once, planned once, replayed every step. A step writes its inputs, encodes the plan and
 * submits; its scalars come back through a ring of staging buffers while the host is up to two steps ahead.
 */
import { GraftError } from "../base/errors.ts";
import { allocateInputs, capacity, cutToCapacity, layOut, type MicroBatchInputs } from "../data/inputs.ts";
import { packRows } from "../data/pack.ts";
import { type OptimizerStep, optimizerSteps, type StepPlan, totalSteps } from "../data/steps.ts";
import { type TokenisedRow, targetCount } from "../data/tokenisedRow.ts";
import { blockBytes } from "../gpu/device.ts";
import { Program } from "../graph/program.ts";
import { SCALAR_COUNT, scalarAt, tokenMeans } from "../ops/scalars.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import { Cuts } from "./cuts.ts";
import type { TrainConfig } from "./fields.ts";
import { type MicroBatchPlan, planMicroBatch } from "./microBatchPlan.ts";
import { checkAlike, checkGradient, checkLoss } from "./notNumbers.ts";
import type { ParameterGroup } from "./parameterGroups.ts";
import type { StepReport } from "./reports.ts";
import { ScalarRing } from "./ring.ts";
import { scheduleFactor } from "./schedule.ts";
import { writeMicroBatch } from "./tracedInputs.ts";
import { Update } from "./update.ts";

export interface TrainerOptions {
  readonly adapted: AdaptedModel;
  readonly train: TrainConfig;
  readonly rows: readonly TokenisedRow[];
  /** What a submit may take on the device before the list is cut; 100 by default. */
  readonly submitMs?: number | undefined;
  readonly onProgress?: Progress | undefined;
}

export type Progress = (stage: "start" | "load" | "compile", done: number, total: number) => void;

/** What a run will take on the device, known before any of it is allocated. */
export interface MemoryEstimate {
  readonly base: number;
  readonly adapter: number;
  readonly optimizer: number;
  readonly activations: number;
  readonly inputs: number;
  readonly control: number;
}

export interface StepRange {
  /** Counted from 1; the first of the run by default. */
  readonly firstStep?: number;
  /** This one is taken, too; the last of the run by default. */
  readonly lastStep?: number;
  /** Asked before each step. */
  readonly isStopped?: (() => boolean) | undefined;
}

const SUBMIT_MS = 100;
/** Steps that are submitted before the first of them has come back. */
const STEPS_AHEAD = 2;
const SCALARS_BYTES = blockBytes(4 * SCALAR_COUNT);

export class Trainer {
  readonly memory: MemoryEstimate;
  readonly steps: number;
  private readonly options: TrainerOptions;
  /** What micro-batches are made of: single rows, or packs of them. */
  private readonly units: readonly (readonly TokenisedRow[])[];
  private readonly stepPlan: StepPlan;
  private readonly microBatch: MicroBatchPlan;
  private readonly update: Update;
  private readonly cuts: Cuts;
  private live:
    | {
        readonly scalars: GPUBuffer;
        readonly program: Program;
        readonly update: Program;
        readonly ring: ScalarRing;
        readonly batch: MicroBatchInputs;
      }
    | undefined;

  /** Traces and plans; nothing is allocated on the device until `prepare`. */
  constructor(options: TrainerOptions) {
    this.options = options;
    const { adapted, train, rows } = options;
    const room = train.per_device_train_batch_size * train.max_length;
    this.units = train.packing ? packRows(rows, room) : rows.map((row) => [row]);
    this.stepPlan = train.packing ? { ...train, per_device_train_batch_size: 1 } : train;
    this.steps = totalSteps(this.units.length, this.stepPlan);
    this.update = new Update(adapted, train);
    this.microBatch = planMicroBatch(adapted, rows, capacity(this.units, this.stepPlan), train);
    this.cuts = new Cuts(this.microBatch.plan.dispatches.length, options.submitMs ?? SUBMIT_MS);
    this.memory = this.estimate();
  }

  /** What trains at which rates. */
  get groups(): readonly ParameterGroup[] {
    return this.update.groups;
  }

  /** Compiles the kernels of both plans, all at once. Takes no memory for the run, so it can begin before `prepare`. */
  async compile(onProgress?: (done: number, total: number) => void): Promise<void> {
    const plans = [this.microBatch.plan, this.update.plan];
    const wanted = plans.flatMap(({ dispatches }) => dispatches.map(({ kernel }) => kernel));
    await this.options.adapted.kernels.compile(wanted, onProgress);
  }

  /** Computes what the run starts from; false where that was stopped. */
  begin(isStopped?: () => boolean): Promise<boolean> {
    const { adapted, onProgress } = this.options;
    return adapted.begin((done, total) => onProgress?.("start", done, total), isStopped);
  }

  /** Loads the model, compiles every pipeline and allocates what the plan says. */
  async prepare(): Promise<void> {
    const { adapted, onProgress } = this.options;
    const { gpu, kernels } = adapted;
    let loaded = false;
    // While the model is read, too; making the programs then finds every pipeline ready.
    const compiling = this.compile((done, total) => {
      if (loaded) onProgress?.("compile", done, total);
    });
    // Awaited below; where loading fails first, nobody else hears of it.
    compiling.catch(() => {});
    await adapted.load((done, total) => onProgress?.("load", done, total));
    loaded = true;
    this.update.bind(adapted);
    await compiling;
    const { plan, inputs, capacity } = this.microBatch;
    const scalars = gpu.create("scalars", SCALARS_BYTES, "control");
    for (const value of [this.microBatch.scalars, this.update.scalars])
      value.storage = { buffer: scalars, offset: 0, size: 4 * SCALAR_COUNT };
    this.live = {
      scalars,
      program: await Program.create(gpu, kernels, plan),
      update: await Program.create(gpu, kernels, this.update.plan),
      ring: new ScalarRing(gpu, 4 * SCALAR_COUNT),
      batch: allocateInputs(capacity, [...inputs.ranges.keys()]),
    };
  }

  /**
   * Runs the steps of a range, or until `isStopped` says so.
   * Throws at the first step whose loss or gradient is not finite, or whose logits are all the same (notNumbers.ts).
   */
  async run(
    onStep: (report: StepReport) => void,
    { firstStep = 1, lastStep = this.steps, isStopped }: StepRange = {},
  ): Promise<void> {
    const { ring } = this.prepared();
    const start = performance.now();
    const reports: Promise<void>[] = [];
    for (const step of optimizerSteps(this.units, this.stepPlan, firstStep)) {
      if (reports.length === STEPS_AHEAD) await reports.shift();
      if (step.step > lastStep || isStopped?.()) break;
      const { lr, tokens } = this.submitStep(step);
      const scalars = ring.read();
      reports.push(
        scalars.then((found) => {
          const means = tokenMeans(found, tokens);
          const grad_norm = found[scalarAt.gradNorm]!;
          checkLoss(means.loss, step.step - 1, "loss");
          checkGradient(grad_norm, step.step);
          checkAlike({ ...means, grad_norm }, step.step - 1);
          const elapsed_ms = performance.now() - start;
          onStep({ step: step.step, ...means, lr, grad_norm, tokens, elapsed_ms });
        }),
      );
      // Whoever awaits it later hears of its failure.
      reports.at(-1)!.catch(() => {});
    }
    await Promise.all(reports);
  }

  /** The rows of the first steps, one after the other. */
  rowsOfSteps(steps: number): TokenisedRow[] {
    const rows: TokenisedRow[] = [];
    for (const { step, microBatches } of optimizerSteps(this.units, this.stepPlan)) {
      if (step > steps) break;
      rows.push(...microBatches.flat(2));
    }
    return rows;
  }

  destroy(): void {
    if (!this.live) return;
    const { scalars, program, update, ring } = this.live;
    program.destroy();
    update.destroy();
    ring.destroy();
    this.options.adapted.gpu.destroy(scalars);
    this.live = undefined;
  }

  /** One submit per micro-batch, unless one ran too long; the update joins the last. */
  private submitStep(step: OptimizerStep<readonly TokenisedRow[]>): { lr: number; tokens: number } {
    const { adapted, train } = this.options;
    const { program, update, batch } = this.prepared();
    const { inputs, capacity } = this.microBatch;
    adapted.update();
    const batches = step.microBatches.flatMap((units) => cutToCapacity(units.flat(), capacity));
    const tokens = batches.reduce((sum, rows) => sum + rows.reduce((n, row) => n + targetCount(row), 0), 0);
    const factor = scheduleFactor(step.step - 1, train, this.steps);
    program.write(inputs.lossScale, Float32Array.of(1 / tokens));
    program.write(inputs.seedStep, Uint32Array.of(train.seed >>> 0, step.step));
    this.update.write(update, step.step, factor);

    let firstRow = 0;
    batches.forEach((rows, i) => {
      layOut(rows, batch, firstRow);
      firstRow += rows.length;
      writeMicroBatch(program, inputs, batch);
      this.submitMicroBatch(i === 0, i === batches.length - 1);
    });
    return { lr: train.learning_rate * factor, tokens };
  }

  private submitMicroBatch(isFirst: boolean, isLast: boolean): void {
    const { adapted } = this.options;
    const { program, update, scalars, ring } = this.prepared();
    const { device } = adapted.gpu;
    for (const [from, to] of this.cuts.pieces()) {
      const encoder = device.createCommandEncoder();
      if (isFirst && from === 0) {
        encoder.clearBuffer(scalars);
        for (const buffer of adapted.chunks("gradients")) encoder.clearBuffer(buffer);
      }
      const pass = encoder.beginComputePass();
      program.encode(pass, from, to);
      const ends = isLast && to === this.microBatch.plan.dispatches.length;
      if (ends) update.encode(pass);
      pass.end();
      if (ends) ring.copyFrom(encoder, scalars);
      device.queue.submit([encoder.finish()]);
      this.cuts.measure(device.queue, from, to);
    }
  }

  private estimate(): MemoryEstimate {
    const { adapted } = this.options;
    const { microBatch, update } = this;
    const sum = (purpose: "activations" | "inputs" | "control") =>
      microBatch.plan.bytes[purpose] + update.plan.bytes[purpose];
    return {
      ...adapted.bytes(),
      activations: sum("activations"),
      inputs: sum("inputs"),
      control: adapted.controlBytes() + sum("control") + SCALARS_BYTES + ScalarRing.bytes(),
    };
  }

  private prepared() {
    if (!this.live) throw new GraftError("not-prepared", "The run was not prepared.");
    return this.live;
  }
}
