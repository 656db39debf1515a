/**
 * A training run: traced once, planned once, replayed every step. A step writes its inputs, encodes the plan and
 * submits; its scalars come back through a ring of staging buffers while the host is up to two steps ahead.
 */
import { ConfigError, DataError } from "../base/errors.ts";
import {
  allocateInputs,
  type Capacity,
  capacity,
  distinctWindows,
  layOut,
  type MicroBatchInputs,
} from "../data/inputs.ts";
import { type OptimizerStep, optimizerSteps, totalSteps } from "../data/steps.ts";
import type { TokenisedRow } from "../data/tokenize.ts";
import { blockBytes, type Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import { ArenaLayout, type ArenaRole, Arenas } from "../graph/arena.ts";
import { differentiate } from "../graph/backward.ts";
import { Graph } from "../graph/graph.ts";
import { makePlan, type Plan, widestBytesPerToken } from "../graph/plan.ts";
import { Program } from "../graph/program.ts";
import { recomputeBlocks } from "../graph/prune.ts";
import type { Value } from "../graph/value.ts";
import type { Selection } from "../lora/targets.ts";
import { FrozenWeights } from "../models/frozen.ts";
import { layOutTrainables, type Model, type ModelInputs, Tracer } from "../models/transformer.ts";
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
import { SCALAR_COUNT, scalarAt, scalarsState } from "../ops/scalars.ts";
import type { TrainConfig } from "./fields.ts";
import { ScalarRing } from "./ring.ts";
import { learningRateAt } from "./schedule.ts";

/** One line of metrics.jsonl. */
export interface StepReport {
  /** Counted from 1. */
  readonly step: number;
  /** Mean nats over the trained tokens of the whole optimizer step, before its update. */
  readonly loss: number;
  /** What this step used. */
  readonly lr: number;
  /** Before clipping. */
  readonly grad_norm: number;
  /** Trained targets. */
  readonly tokens: number;
  /** Since the first step began. */
  readonly elapsed_ms: number;
}

export interface TrainerOptions {
  readonly gpu: Gpu;
  readonly kernels: Kernels;
  readonly model: Model;
  readonly selection: Selection;
  readonly loraDropout: number;
  readonly train: TrainConfig;
  readonly rows: readonly TokenisedRow[];
  /** Starting values of every trainable tensor, by PEFT's key; in the engine's orientation, [out, in]. */
  readonly initial: ReadonlyMap<string, Float32Array>;
  readonly onProgress?: (stage: "load" | "compile", done: number, total: number) => void;
}

/** What a run will take on the device, known before any of it is allocated. */
export interface MemoryEstimate {
  readonly base: number;
  readonly adapter: number;
  readonly optimizer: number;
  readonly activations: number;
  readonly inputs: number;
  readonly control: number;
}

interface TracedInputs extends ModelInputs {
  readonly rowInStep: Value;
  readonly seedStep: Value;
  readonly targetRow: Value;
  readonly targetId: Value;
  readonly targetOfToken: Value;
  readonly lossScale: Value;
  readonly windows: readonly (number | undefined)[];
}

const DECAY_GROUPS = 2;

export class Trainer {
  readonly memory: MemoryEstimate;
  readonly steps: number;
  /** Trainable tensors by PEFT's key, with their shapes in the engine's orientation. */
  readonly layout: ArenaLayout;
  private readonly options: TrainerOptions;
  private readonly settings: AdamWSettings;
  private readonly capacity: Capacity;
  private readonly inputs: TracedInputs;
  private readonly plan: Plan;
  private readonly updatePlan: Plan;
  private readonly hyper: { common: Value; groups: Value };
  private readonly scalarValues: readonly Value[];
  private readonly scaleValue: Value;
  private readonly arenaValues: readonly { role: ArenaRole; chunk: number; value: Value }[];
  private readonly parameters: readonly Value[];
  private readonly frozen: FrozenWeights;
  private live:
    | {
        readonly arenas: Arenas;
        readonly scalars: GPUBuffer;
        readonly scales: GPUBuffer;
        readonly program: Program;
        readonly update: Program;
        readonly ring: ScalarRing;
        readonly batch: MicroBatchInputs;
      }
    | undefined;

  /** Traces and plans; nothing is allocated on the device until `prepare`. */
  constructor(options: TrainerOptions) {
    this.options = options;
    const { gpu, model, selection, train, rows } = options;
    const { maxBinding } = gpu.traits;
    this.steps = totalSteps(rows.length, train);
    this.settings = {
      beta1: train.adam_beta1,
      beta2: train.adam_beta2,
      epsilon: train.adam_epsilon,
      maxGradNorm: train.max_grad_norm,
    };
    this.layout = new ArenaLayout(maxBinding);
    layOutTrainables(model, selection, this.layout);
    this.frozen = new FrozenWeights(gpu);
    this.capacity = this.fittingCapacity();

    const graph = new Graph(this.capacity.tokens, this.capacity.targets);
    const tracer = this.tracer(graph);
    this.inputs = this.traceInputs(graph);
    const scalars = scalarsState(graph);
    const hidden = tracer.hidden(this.inputs, longest(rows));
    crossEntropy(graph, hidden, tracer.head(), {
      ...this.inputs,
      scalars,
      withGradient: true,
      chunkBytes: Math.min(maxBinding, CHUNK_BYTES),
    });
    const forwardCount = graph.nodes.length;
    differentiate(graph);
    const nodes = train.gradient_checkpointing ? recomputeBlocks(graph, forwardCount) : graph.nodes;
    this.plan = makePlan(graph, gpu.traits, nodes);
    this.parameters = [...tracer.parameters.values()];
    this.scaleValue = this.inputs.lora.scales;

    const update = new Graph(1, 1);
    const updateScalars = scalarsState(update);
    this.hyper = {
      common: update.input("hyper", [COMMON_HYPER_COUNT], "f32"),
      groups: update.input("group hyper", [DECAY_GROUPS * GROUP_HYPER_COUNT], "f32"),
    };
    const arenaValues: { role: ArenaRole; chunk: number; value: Value }[] = [];
    const chunks = this.layout.chunkBytes.map((bytes, chunk): OptimizerChunk => {
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
        groups: this.layout.groupOfBlocks(chunk),
      };
    });
    optimizerStep(update, {
      chunks,
      groupHyper: this.hyper.groups,
      hyper: this.hyper.common,
      scalars: updateScalars,
    });
    this.updatePlan = makePlan(update, gpu.traits);
    this.arenaValues = arenaValues;
    this.scalarValues = [scalars, updateScalars];
    this.memory = this.estimate();
  }

  /** Loads the base model, compiles every pipeline and allocates what the plan says. */
  async prepare(): Promise<void> {
    const { gpu, kernels, selection, initial, onProgress } = this.options;
    await this.frozen.load((done, total) => onProgress?.("load", done, total));
    const arenas = new Arenas(gpu, this.layout);
    for (const [key, values] of initial) arenas.write("parameters", key, values);
    for (const parameter of this.parameters) arenas.bind(parameter);
    for (const { role, chunk, value } of this.arenaValues) {
      const buffer = arenas.chunks[role][chunk]!;
      value.storage = { buffer, offset: 0, size: buffer.size };
    }
    const scalars = gpu.create("scalars", SCALARS_BYTES, "control");
    for (const value of this.scalarValues)
      value.storage = { buffer: scalars, offset: 0, size: 4 * SCALAR_COUNT };
    const scales = gpu.create("scales", this.scalesBytes(), "adapter");
    this.scaleValue.storage = { buffer: scales, offset: 0, size: 4 * Math.max(1, selection.lora.length) };
    gpu.device.queue.writeBuffer(
      scales,
      0,
      Float32Array.from(selection.lora, ({ scale }) => scale),
    );
    // Compiled at once, for both plans; making the programs then finds every pipeline ready.
    const kernelsOf = [this.plan, this.updatePlan].flatMap(({ dispatches }) =>
      dispatches.map(({ kernel }) => kernel),
    );
    await kernels.compile(kernelsOf, (done, total) => onProgress?.("compile", done, total));
    const program = await Program.create(gpu, kernels, this.plan);
    const update = await Program.create(gpu, kernels, this.updatePlan);
    this.live = {
      arenas,
      scalars,
      scales,
      program,
      update,
      ring: new ScalarRing(gpu, 4 * SCALAR_COUNT),
      batch: allocateInputs(this.capacity, this.inputs.windows),
    };
  }

  /** Runs the optimizer steps from `firstStep`, counted from 1. `isStopped` is asked between steps. */
  async run(
    onStep: (report: StepReport) => void,
    options: { isStopped?: () => boolean; firstStep?: number } = {},
  ) {
    const { rows, train } = this.options;
    const { ring } = this.prepared();
    const start = performance.now();
    const reports: Promise<void>[] = [];
    for (const step of optimizerSteps(rows, train, options.firstStep ?? 1)) {
      if (options.isStopped?.()) break;
      // At most two steps ahead of what has come back.
      await reports.at(-2);
      const { lr, tokens } = this.submitStep(step);
      reports.push(
        ring.read().then((scalars) => {
          onStep({
            step: step.step,
            loss: scalars[scalarAt.lossSum]! / tokens,
            lr,
            grad_norm: scalars[scalarAt.gradNorm]!,
            tokens,
            elapsed_ms: performance.now() - start,
          });
        }),
      );
      if (reports.length > 2) await reports.shift();
    }
    await Promise.all(reports);
  }

  /** A trainable tensor as it is now, in the engine's orientation. */
  async read(key: string, role: ArenaRole = "parameters"): Promise<Float32Array> {
    return this.prepared().arenas.read(role, key);
  }

  /** Bytes written to the device since `prepare`. */
  uploadedBytes(): number {
    const { program, update } = this.prepared();
    return program.uploadedBytes + update.uploadedBytes;
  }

  destroy(): void {
    if (this.live) {
      const { arenas, scalars, scales, program, update, ring } = this.live;
      program.destroy();
      update.destroy();
      arenas.destroy();
      ring.destroy();
      this.options.gpu.destroy(scalars);
      this.options.gpu.destroy(scales);
      this.live = undefined;
    }
    this.frozen.destroy();
  }

  /** One submit per micro-batch; the update joins the last. */
  private submitStep(step: OptimizerStep<TokenisedRow>): { lr: number; tokens: number } {
    const { gpu, train } = this.options;
    const { program, update, arenas, scalars, ring, batch } = this.prepared();
    const { device } = gpu;
    const batches = step.microBatches.flatMap((rows) => this.cut(rows));
    const tokens = batches.reduce((sum, rows) => sum + rows.reduce((n, { ids }) => n + ids.length - 1, 0), 0);
    const lr = learningRateAt(step.step - 1, train, this.steps);
    program.write(this.inputs.lossScale, Float32Array.of(1 / tokens));
    program.write(this.inputs.seedStep, Uint32Array.of(train.seed >>> 0, step.step));
    update.write(this.hyper.common, commonHyper(this.settings, step.step));
    const groups = [train.weight_decay, 0].map((weightDecay) => ({ learningRate: lr, weightDecay }));
    update.write(this.hyper.groups, groupHyper(this.settings, groups, step.step));

    let firstRow = 0;
    batches.forEach((rows, i) => {
      layOut(rows, batch, firstRow);
      firstRow += rows.length;
      this.writeInputs(program, batch);
      program.setCounts(batch);
      const encoder = device.createCommandEncoder();
      if (i === 0) {
        encoder.clearBuffer(scalars);
        for (const buffer of arenas.chunks.gradients) encoder.clearBuffer(buffer);
      }
      const pass = encoder.beginComputePass();
      program.encode(pass);
      if (i === batches.length - 1) {
        update.setCounts({ tokens: 1, targets: 1 });
        update.encode(pass);
      }
      pass.end();
      if (i === batches.length - 1) ring.copyFrom(encoder, scalars);
      device.queue.submit([encoder.finish()]);
    });
    return { lr, tokens };
  }

  private writeInputs(program: Program, batch: MicroBatchInputs): void {
    const { inputs } = this;
    const { tokens, targets } = batch;
    program.write(inputs.ids, batch.ids, tokens);
    program.write(inputs.positions, batch.positions, tokens);
    program.write(inputs.rowInStep, batch.rowInStep, tokens);
    program.write(inputs.targetOfToken, batch.targetOfToken, tokens);
    program.write(inputs.targetRow, batch.targetRow, targets);
    program.write(inputs.targetId, batch.targetId, targets);
    for (const { window, keyRange, queryRange } of batch.ranges) {
      const range = inputs.ranges.get(window)!;
      program.write(range.keyRange, keyRange, 2 * tokens);
      program.write(range.queryRange, queryRange, 2 * tokens);
    }
  }

  /** Cuts a micro-batch at sequence borders where the plan's buffers would not hold it; the objective is the same. */
  private cut(rows: readonly TokenisedRow[]): TokenisedRow[][] {
    const parts: TokenisedRow[][] = [];
    let held = 0;
    for (const row of rows) {
      if (parts.length === 0 || held + row.ids.length > this.capacity.tokens) {
        parts.push([]);
        held = 0;
      }
      parts.at(-1)!.push(row);
      held += row.ids.length;
    }
    return parts;
  }

  /** The largest micro-batch of the run, or as many tokens as the widest activation leaves room for in a binding. */
  private fittingCapacity(): Capacity {
    const { gpu, rows, train } = this.options;
    const wanted = capacity(rows, train);
    const probe = new Graph(1, 1);
    this.tracer(probe).hidden(this.traceInputs(probe), 1);
    const fitting = Math.floor(gpu.traits.maxBinding / widestBytesPerToken(probe));
    if (longest(rows) > fitting) {
      throw new DataError(
        "row-too-long",
        `A row has ${longest(rows)} tokens; on this device the widest activation leaves room for ${fitting}.`,
        `Set max_length to ${fitting} or less.`,
      );
    }
    if (this.layout.tensors.size === 0) {
      throw new ConfigError("nothing-trains", "No tensor would be trained.", "Choose target_modules.");
    }
    return { tokens: Math.min(wanted.tokens, fitting), targets: Math.min(wanted.targets, fitting) };
  }

  private tracer(graph: Graph): Tracer {
    const { gpu, model, selection } = this.options;
    const { frozen, layout } = this;
    const { maxBinding } = gpu.traits;
    return new Tracer({ graph, model, frozen, layout, selection, trained: true, maxBinding });
  }

  private traceInputs(graph: Graph): TracedInputs {
    const { model, selection, loraDropout } = this.options;
    const { tokens, targets } = graph;
    const windows = distinctWindows(model.config.slidingWindow);
    const ranges = windows.map((window) => {
      const keyRange = graph.input(`keys of a query (window ${window})`, [tokens, 2], "u32");
      const queryRange = graph.input(`queries of a key (window ${window})`, [tokens, 2], "u32");
      return [window, { keyRange, queryRange }] as const;
    });
    const positions = graph.input("positions", [tokens], "u32");
    const rowInStep = graph.input("row in step", [tokens], "u32");
    const seedStep = graph.input("seed and step", [2], "u32");
    const scales = graph.state("lora scales", [Math.max(1, selection.lora.length)]);
    const dropout = loraDropout > 0 ? { dropout: { p: loraDropout, seedStep, rowInStep, positions } } : {};
    return {
      ids: graph.input("ids", [tokens], "u32"),
      positions,
      rowInStep,
      seedStep,
      windows,
      ranges: new Map(ranges),
      lora: { scales, ...dropout },
      targetRow: graph.input("target row", [targets], "u32"),
      targetId: graph.input("target id", [targets], "u32"),
      targetOfToken: graph.input("target of token", [tokens], "i32"),
      lossScale: graph.input("loss scale", [1], "f32"),
    };
  }

  private scalesBytes(): number {
    return blockBytes(4 * Math.max(1, this.options.selection.lora.length));
  }

  private estimate(): MemoryEstimate {
    const { plan, updatePlan } = this;
    const sum = (purpose: "activations" | "inputs" | "control") =>
      plan.bytes[purpose] + updatePlan.bytes[purpose];
    return {
      base: this.frozen.bytes(),
      adapter: this.layout.bytes() + this.scalesBytes(),
      optimizer: 3 * this.layout.bytes(),
      activations: sum("activations"),
      inputs: sum("inputs"),
      control: sum("control") + SCALARS_BYTES + ScalarRing.bytes(),
    };
  }

  private prepared() {
    if (!this.live) throw new ConfigError("not-prepared", "The run was not prepared.");
    return this.live;
  }
}

const SCALARS_BYTES = blockBytes(4 * SCALAR_COUNT);
const CHUNK_BYTES = 64 * 2 ** 20;

function longest(rows: readonly TokenisedRow[]): number {
  return rows.reduce((most, { ids }) => Math.max(most, ids.length), 0);
}
