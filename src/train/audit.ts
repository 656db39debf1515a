/**
 * After the first step that can move anything: which tensors moved, which did not, and which should not have. What trains
 * is read back and compared with where it started; of the base's tensors on the device checksums are taken before and after.
 */
import { GraftError } from "../base/errors.ts";
import { blockBytes } from "../gpu/device.ts";
import { Graph } from "../graph/graph.ts";
import { makePlan, type Plan } from "../graph/plan.ts";
import { Program } from "../graph/program.ts";
import { maxBytes, type Value } from "../graph/value.ts";
import { adapterEntries } from "../lora/adapterKeys.ts";
import { checksum } from "../ops/checksum.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import { type Expected, expectedOf } from "./expected.ts";
import type { TrainConfig } from "./fields.ts";
import { groupByKey, parameterGroups } from "./parameterGroups.ts";
import type { AuditedTensor, AuditResult } from "./reports.ts";
import { scheduleFactor } from "./schedule.ts";
import type { Trainer } from "./trainer.ts";

export class Audit {
  /** The step after which it is made: the first with a learning rate above zero. */
  readonly step: number;
  private readonly adapted: AdaptedModel;
  private readonly train: TrainConfig;
  private readonly trainer: Trainer;
  private readonly frozen: readonly { readonly name: string; readonly words: Value }[];
  private readonly sums: Value;
  private readonly plan: Plan;
  private before: Uint32Array | undefined;
  private live: { readonly program: Program; readonly buffer: GPUBuffer } | undefined;

  /** Plans for what of the base is on the device, or will be. */
  constructor(adapted: AdaptedModel, trainer: Trainer, train: TrainConfig) {
    this.adapted = adapted;
    this.trainer = trainer;
    this.train = train;
    let step = 1;
    while (step < trainer.steps && this.factorAt(step) === 0) step++;
    this.step = step;
    const graph = new Graph(1, 1);
    this.frozen = adapted.frozen.words(graph);
    this.sums = graph.state("checksums", [Math.max(1, this.frozen.length)], "u32");
    for (const [place, { words }] of this.frozen.entries()) checksum(graph, words, this.sums, place);
    this.plan = makePlan(graph, adapted.gpu.traits);
  }

  /** Bytes on the device. */
  bytes(): { readonly control: number } {
    return { control: this.plan.bytes.control + this.sumBytes() };
  }

  /** Makes the program; the base's tensors have their places by now. */
  async prepare(): Promise<void> {
    const { gpu, kernels } = this.adapted;
    const buffer = gpu.create("checksums", this.sumBytes(), "control");
    this.sums.storage = { buffer, offset: 0, size: maxBytes(this.sums) };
    this.live = { program: await Program.create(gpu, kernels, this.plan), buffer };
  }

  /** Notes what the base's tensors are before the first step. */
  async begin(): Promise<void> {
    this.before = await this.checksums();
  }

  /** What the steps up to `step` have done. */
  async result(): Promise<AuditResult> {
    const { adapted, frozen, before, step } = this;
    const after = await this.checksums();
    // By the run file, not by what the trainer made of it: the audit is there to see whether that is the same.
    const groups = parameterGroups(adapted.model, adapted.selection, this.train);
    const groupOf = groupByKey(groups);
    const { model, selection, start: initial } = adapted;
    const rows = this.trainer.rowsOfSteps(step);
    const steps = { model, selection, initial, rows, factor: this.factorAt(step) };
    const entries = new Map(adapterEntries(selection).map((entry) => [entry.key, entry]));
    const tensors: AuditedTensor[] = [];
    const changed = frozen.flatMap(({ name }, i) => (after[i] === before?.[i] ? [] : [name]));
    let bytes = frozen.reduce((sum, { words }) => sum + maxBytes(words), 0);
    for await (const [key, values] of adapted.readAll()) {
      const entry = entries.get(key);
      if (entry) {
        const expected = expectedOf(entry, groups[groupOf.get(key)!]!, steps);
        tensors.push(audited(key, initial.get(key)!, values, expected));
      } else {
        // A constant of LoRA's own, beside what trains.
        bytes += values.byteLength;
        if (values.some((value, i) => value !== initial.get(key)![i]!)) changed.push(key);
      }
    }
    const constants = adapted.layout.constants.size;
    return { tensors, frozen: { tensors: frozen.length + constants, bytes, changed } };
  }

  destroy(): void {
    if (!this.live) return;
    this.live.program.destroy();
    this.adapted.gpu.destroy(this.live.buffer);
    this.live = undefined;
  }

  private sumBytes(): number {
    return blockBytes(maxBytes(this.sums));
  }

  private factorAt(step: number): number {
    return scheduleFactor(step - 1, this.train, this.trainer.steps);
  }

  private async checksums(): Promise<Uint32Array> {
    if (!this.live) throw new GraftError("not-prepared", "The audit was not prepared.");
    const { program, buffer } = this.live;
    const { gpu } = this.adapted;
    const clearing = gpu.device.createCommandEncoder();
    clearing.clearBuffer(buffer);
    gpu.device.queue.submit([clearing.finish()]);
    // One command buffer each: a browser kills a long one.
    for (const place of this.frozen.keys()) {
      const encoder = gpu.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      program.encode(pass, place, place + 1);
      pass.end();
      gpu.device.queue.submit([encoder.finish()]);
    }
    return new Uint32Array(await gpu.read(this.sums.storage!));
  }
}

function audited(
  tensor: string,
  before: Float32Array,
  after: Float32Array,
  { moves, because }: Expected,
): AuditedTensor {
  let [change, norm, moved] = [0, 0, false];
  for (const [i, value] of after.entries()) {
    change += (value - before[i]!) ** 2;
    norm += before[i]! ** 2;
    moved ||= value !== before[i]!;
  }
  const verdict = moved && moves === "no" ? "strayed" : !moved && moves === "yes" ? "stuck" : "ok";
  return { tensor, change: Math.sqrt(change), norm: Math.sqrt(norm), expected: moves, because, verdict };
}
