/**
 * A training run: traced once, planned once, replayed every step. A step writes its inputs, encodes the plan and
 * submits; its scalars come back through a ring of staging buffers while the host is up to two steps ahead.
 */
import { DataError, GraftError } from "../base/errors.ts";
import {
  allocateInputs,
  type Capacity,
  capacity,
  layOut,
  type MicroBatchInputs,
  tokensRead,
} from "../data/inputs.ts";
import { packRows } from "../data/pack.ts";
import { type OptimizerStep, optimizerSteps, type StepPlan, totalSteps } from "../data/steps.ts";
import { type TokenisedRow, targetCount } from "../data/tokenize.ts";
import { blockBytes } from "../gpu/device.ts";
import type { ArenaRole } from "../graph/arena.ts";
import { differentiate } from "../graph/backward.ts";
import { Graph } from "../graph/graph.ts";
import { makePlan, type Plan, widestBytesPerToken } from "../graph/plan.ts";
import { Program } from "../graph/program.ts";
import { recomputeBlocks } from "../graph/prune.ts";
import type { Value } from "../graph/value.ts";
import { crossEntropy } from "../ops/crossEntropy.ts";
import {
  type AdamWSettings,
  COMMON_HYPER_COUNT,
  commonHyper,
  GROUP_HYPER_COUNT,
  groupHyper,
  type OptimizerChunk,
  optimizerStep,
} from "../ops/optimizer.ts";
import { SCALAR_COUNT, scalarAt, scalarsState, tokenMeans } from "../ops/scalars.ts";
import type { AdaptedModel, Traced } from "./adaptedModel.ts";
import { Cuts } from "./cuts.ts";
import type { TrainConfig } from "./fields.ts";
import { groupByKey, type ParameterGroup, parameterGroups } from "./parameterGroups.ts";
import type { StepReport } from "./reports.ts";
import { ScalarRing } from "./ring.ts";
import { scheduleFactor } from "./schedule.ts";
import { tiesOf } from "./ties.ts";
import { type TracedInputs, writeMicroBatch } from "./tracedInputs.ts";

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
  readonly firstStep?: number;
  readonly lastStep?: number;
  readonly isStopped?: (() => boolean) | undefined;
}

const SUBMIT_MS = 100;

export class Trainer {
  readonly memory: MemoryEstimate;
  readonly steps: number;
  readonly groups: readonly ParameterGroup[];
  private readonly options: TrainerOptions;
  private readonly settings: AdamWSettings;
  /** What micro-batches are made of: single rows, or packs of them. */
  private readonly units: readonly (readonly TokenisedRow[])[];
  private readonly stepPlan: StepPlan;
  private readonly capacity: Capacity;
  private readonly inputs: TracedInputs;
  private readonly plan: Plan;
  private readonly updatePlan: Plan;
  private readonly cuts: Cuts;
  private readonly hyper: { common: Value; groups: Value };
  private readonly scalarValues: readonly Value[];
  private readonly arenaValues: readonly { role: ArenaRole; chunk: number; value: Value }[];
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
    const { traits } = adapted.gpu;
    const room = train.per_device_train_batch_size * train.max_length;
    this.units = train.packing ? packRows(rows, room) : rows.map((row) => [row]);
    this.stepPlan = train.packing ? { ...train, per_device_train_batch_size: 1 } : train;
    this.steps = totalSteps(this.units.length, this.stepPlan);
    this.settings = {
      beta1: train.adam_beta1,
      beta2: train.adam_beta2,
      epsilon: train.adam_epsilon,
      maxGradNorm: train.max_grad_norm,
    };
    this.groups = parameterGroups(adapted.model, adapted.selection, train);
    const wanted = capacity(this.units, this.stepPlan);
    let traced = this.trace(wanted);
    const fitting = Math.floor(traits.maxBinding / widestBytesPerToken(traced.graph));
    if (longest(rows) > fitting) throw rowTooLong(longest(rows), fitting);
    this.capacity = { tokens: Math.min(wanted.tokens, fitting), targets: Math.min(wanted.targets, fitting) };
    if (wanted.tokens > fitting) traced = this.trace(this.capacity);

    const { graph, inputs, hidden, head } = traced;
    this.inputs = inputs;
    const scalars = scalarsState(graph);
    const chunkBytes = Math.min(traits.maxBinding, CHUNK_BYTES);
    crossEntropy(graph, hidden, head, { ...inputs, scalars, withGradient: true, chunkBytes });
    const forwardCount = graph.nodes.length;
    differentiate(graph);
    const nodes = train.gradient_checkpointing ? recomputeBlocks(graph, forwardCount) : graph.nodes;
    this.plan = makePlan(graph, traits, nodes);
    this.cuts = new Cuts(this.plan.dispatches.length, options.submitMs ?? SUBMIT_MS);

    const update = new Graph(1, 1);
    const updateScalars = scalarsState(update);
    this.hyper = {
      common: update.input("hyper", [COMMON_HYPER_COUNT], "f32"),
      groups: update.input("group hyper", [this.groups.length * GROUP_HYPER_COUNT], "f32"),
    };
    const arenaValues: { role: ArenaRole; chunk: number; value: Value }[] = [];
    const groupOf = groupByKey(this.groups);
    const chunks = adapted.layout.chunkBytes.map((bytes, chunk): OptimizerChunk => {
      const state = (role: ArenaRole): Value => {
        const value = update.state(`${role} ${chunk}`, [bytes / 4]);
        arenaValues.push({ role, chunk, value });
        return value;
      };
      return {
        parameters: state("parameters"),
        gradients: state("gradients"),
        firstMoment: state("firstMoment"),
        secondMoment: state("secondMoment"),
        groups: adapted.layout.groupOfBlocks(chunk, (key) => groupOf.get(key)!),
      };
    });
    optimizerStep(update, {
      chunks,
      ties: tiesOf(adapted.selection, adapted.layout),
      groupHyper: this.hyper.groups,
      hyper: this.hyper.common,
      scalars: updateScalars,
    });
    this.updatePlan = makePlan(update, traits);
    this.arenaValues = arenaValues;
    this.scalarValues = [scalars, updateScalars];
    this.memory = this.estimate();
  }

  /** Compiles the kernels of both plans, all at once. Takes no memory for the run, so it can begin before `prepare`. */
  async compile(onProgress?: (done: number, total: number) => void): Promise<void> {
    const plans = [this.plan, this.updatePlan];
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
    for (const { role, chunk, value } of this.arenaValues) {
      const size = adapted.layout.chunkBytes[chunk]!;
      value.storage = { buffer: adapted.chunks(role)[chunk]!, offset: 0, size };
    }
    await compiling;
    const scalars = gpu.create("scalars", SCALARS_BYTES, "control");
    for (const value of this.scalarValues)
      value.storage = { buffer: scalars, offset: 0, size: 4 * SCALAR_COUNT };
    this.live = {
      scalars,
      program: await Program.create(gpu, kernels, this.plan),
      update: await Program.create(gpu, kernels, this.updatePlan),
      ring: new ScalarRing(gpu, 4 * SCALAR_COUNT),
      batch: allocateInputs(this.capacity, [...this.inputs.ranges.keys()]),
    };
  }

  /**
   * Runs the steps from `firstStep`, counted from 1, to `lastStep`, or until `isStopped`, asked before each, says so.
   * Throws GraftError "diverged" at the first step whose loss or gradient is not finite.
   */
  async run(
    onStep: (report: StepReport) => void,
    { firstStep = 1, lastStep = this.steps, isStopped }: StepRange = {},
  ): Promise<void> {
    const { ring } = this.prepared();
    const start = performance.now();
    const reports: Promise<void>[] = [];
    for (const step of optimizerSteps(this.units, this.stepPlan, firstStep)) {
      // At most two steps ahead of what has come back.
      if (reports.length === 2) await reports.shift();
      if (step.step > lastStep || isStopped?.()) break;
      const { lr, tokens } = this.submitStep(step);
      const scalars = ring.read();
      reports.push(
        scalars.then((found) => {
          const means = tokenMeans(found, tokens);
          const grad_norm = found[scalarAt.gradNorm]!;
          if (!Number.isFinite(means.loss) || !Number.isFinite(grad_norm))
            throw diverged(step.step, means.loss, grad_norm);
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

  /** Bytes written to the device since `prepare`. */
  uploadedBytes(): number {
    const { program, update } = this.prepared();
    return program.uploadedBytes + update.uploadedBytes;
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
    adapted.update();
    const batches = step.microBatches.flatMap((units) => this.cutAtBorders(units.flat()));
    const tokens = batches.reduce((sum, rows) => sum + rows.reduce((n, row) => n + targetCount(row), 0), 0);
    const factor = scheduleFactor(step.step - 1, train, this.steps);
    program.write(this.inputs.lossScale, Float32Array.of(1 / tokens));
    program.write(this.inputs.seedStep, Uint32Array.of(train.seed >>> 0, step.step));
    update.write(this.hyper.common, commonHyper(this.settings, step.step));
    const groups = this.groups.map(({ lr, weight_decay }) => ({
      learningRate: lr * factor,
      weightDecay: weight_decay,
    }));
    update.write(this.hyper.groups, groupHyper(this.settings, groups, step.step));
    update.setCounts({ tokens: 1, targets: 1 });

    let firstRow = 0;
    batches.forEach((rows, i) => {
      layOut(rows, batch, firstRow);
      firstRow += rows.length;
      writeMicroBatch(program, this.inputs, batch);
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
      const ends = isLast && to === this.plan.dispatches.length;
      if (ends) update.encode(pass);
      pass.end();
      if (ends) ring.copyFrom(encoder, scalars);
      device.queue.submit([encoder.finish()]);
      this.measure(from, to);
    }
  }

  private lastDone = 0;

  /** How long a piece ran: from its submit, or the end of the one before it. Nobody waits for the answer. */
  private measure(from: number, to: number): void {
    const submitted = performance.now();
    void this.options.adapted.gpu.device.queue.onSubmittedWorkDone().then(
      () => {
        const done = performance.now();
        this.cuts.measured(from, to, done - Math.max(submitted, this.lastDone));
        this.lastDone = done;
      },
      // A lost device is reported by whoever waits for results.
      () => {},
    );
  }

  /** Cuts a micro-batch at sequence borders where the plan's buffers would not hold it; the objective is the same. */
  private cutAtBorders(rows: readonly TokenisedRow[]): TokenisedRow[][] {
    const parts: TokenisedRow[][] = [];
    let held = 0;
    for (const row of rows) {
      if (parts.length === 0 || held + tokensRead(row) > this.capacity.tokens) {
        parts.push([]);
        held = 0;
      }
      parts.at(-1)!.push(row);
      held += tokensRead(row);
    }
    return parts;
  }

  private trace({ tokens, targets }: Capacity): Traced & { readonly graph: Graph } {
    const { adapted, rows } = this.options;
    const graph = new Graph(tokens, targets);
    return { graph, ...adapted.trace(graph, { longest: longest(rows), trains: true }) };
  }

  private estimate(): MemoryEstimate {
    const { plan, updatePlan } = this;
    const sum = (purpose: "activations" | "inputs" | "control") =>
      plan.bytes[purpose] + updatePlan.bytes[purpose];
    const { adapted } = this.options;
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

const SCALARS_BYTES = blockBytes(4 * SCALAR_COUNT);
const CHUNK_BYTES = 64 * 2 ** 20;

function rowTooLong(tokens: number, fitting: number): DataError {
  return new DataError(
    "row-too-long",
    `A row has ${tokens} tokens; on this device the widest activation leaves room for ${fitting}.`,
    `Set max_length to ${fitting} or less.`,
  );
}

function diverged(step: number, loss: number, gradNorm: number): GraftError {
  return new GraftError(
    "diverged",
    `Step ${step} has loss ${loss} and gradient norm ${gradNorm}: the run has diverged, and the adapter is of no use.`,
    "Start again with a lower learning_rate, a warm-up, or a smaller lora_alpha.",
  );
}

function longest(rows: readonly TokenisedRow[]): number {
  return rows.reduce((most, { ids }) => Math.max(most, ids.length), 0);
}
