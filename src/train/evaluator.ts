/** The loss on rows that are not trained on: forward only, and over the whole as exact as the training loss. */
import { GraftError } from "../base/errors.ts";
import { allocateInputs, type Capacity, layOut, type MicroBatchInputs, tokensRead } from "../data/inputs.ts";
import { packRows } from "../data/pack.ts";
import type { TokenisedRow } from "../data/tokenisedRow.ts";
import { blockBytes } from "../gpu/device.ts";
import { Graph } from "../graph/graph.ts";
import { makePlan, type Plan } from "../graph/plan.ts";
import { Program } from "../graph/program.ts";
import type { Value } from "../graph/value.ts";
import { crossEntropy } from "../ops/crossEntropy.ts";
import { SCALAR_COUNT, scalarsState, type TokenMeans, tokenMeans } from "../ops/scalars.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import { type TracedInputs, writeMicroBatch } from "./tracedInputs.ts";

export interface Evaluation extends TokenMeans {
  readonly targets: number;
}

/** Tokens of a micro-batch, unless a row is longer. */
const BATCH_TOKENS = 1024;

export class Evaluator {
  private readonly adapted: AdaptedModel;
  private readonly batches: readonly (readonly TokenisedRow[])[];
  private readonly capacity: Capacity;
  private readonly inputs: TracedInputs;
  private readonly scalars: Value;
  private readonly plan: Plan;
  private live:
    | { readonly program: Program; readonly scalars: GPUBuffer; readonly batch: MicroBatchInputs }
    | undefined;

  constructor(adapted: AdaptedModel, rows: readonly TokenisedRow[]) {
    this.adapted = adapted;
    const longest = rows.reduce((most, { ids }) => Math.max(most, ids.length), 0);
    this.batches = packRows(rows, Math.max(longest, BATCH_TOKENS));
    const tokens = Math.max(
      ...this.batches.map((batch) => batch.reduce((sum, row) => sum + tokensRead(row), 0)),
    );
    this.capacity = { tokens, targets: tokens };
    const graph = new Graph(tokens, tokens);
    const { inputs, hidden, head } = adapted.trace(graph, { longest, trains: false });
    this.inputs = inputs;
    this.scalars = scalarsState(graph);
    crossEntropy(graph, hidden, head, { ...inputs, scalars: this.scalars, withGradient: false });
    this.plan = makePlan(graph, adapted.gpu.traits);
  }

  /** Bytes on the device, beside the model itself. */
  bytes(): Plan["bytes"] {
    const { bytes } = this.plan;
    return { ...bytes, control: bytes.control + blockBytes(4 * SCALAR_COUNT) };
  }

  async prepare(): Promise<void> {
    const { gpu, kernels } = this.adapted;
    await this.adapted.load();
    const scalars = gpu.create("evaluation scalars", blockBytes(4 * SCALAR_COUNT), "control");
    this.scalars.storage = { buffer: scalars, offset: 0, size: 4 * SCALAR_COUNT };
    const program = await Program.create(gpu, kernels, this.plan);
    this.live = { program, scalars, batch: allocateInputs(this.capacity, [...this.inputs.ranges.keys()]) };
  }

  /** The loss with the adapter as it is now. */
  async evaluate(): Promise<Evaluation> {
    if (!this.live) throw new GraftError("not-prepared", "The evaluation was not prepared.");
    const { program, scalars, batch } = this.live;
    const { gpu } = this.adapted;
    let targets = 0;
    this.adapted.update();
    this.batches.forEach((rows, i) => {
      writeMicroBatch(program, this.inputs, layOut(rows, batch));
      targets += batch.targets;
      const encoder = gpu.device.createCommandEncoder();
      if (i === 0) encoder.clearBuffer(scalars);
      program.encodePass(encoder);
      gpu.device.queue.submit([encoder.finish()]);
    });
    const found = new Float32Array(await gpu.read({ buffer: scalars, offset: 0, size: 4 * SCALAR_COUNT }));
    return { ...tokenMeans(found, targets), targets };
  }

  destroy(): void {
    if (!this.live) return;
    this.live.program.destroy();
    this.adapted.gpu.destroy(this.live.scalars);
    this.live = undefined;
  }
}
