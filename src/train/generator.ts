/**
 * Generation with a key/value cache. A round computes only what is new: what is left of prompts, and the last token of
 * each answer. Several answers are written side by side, each in a lane of the cache of its own; a lane whose answer
 * has ended takes the next prompt.
 */
import { DataError, GraftError } from "../base/errors.ts";
import { blockBytes } from "../gpu/device.ts";
import { Graph } from "../graph/graph.ts";
import { makePlan, type Plan } from "../graph/plan.ts";
import { Program } from "../graph/program.ts";
import type { Value } from "../graph/value.ts";
import { gatherRows } from "../ops/crossEntropy.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import { checkLogits } from "./notNumbers.ts";
import { penalise, type Sampling, sample } from "./sampling.ts";
import type { TracedInputs } from "./tracedInputs.ts";

export interface GeneratorOptions {
  /** Answers that are written side by side. */
  readonly lanes: number;
  /** Tokens of the longest prompt and its answer together. */
  readonly context: number;
  /** Answers of the base model: the adapter is left out. */
  readonly asBase?: boolean;
}

export interface GenerationSettings extends Sampling {
  readonly max_new_tokens: number;
  /** An answer ends before the first of these. */
  readonly stopIds: ReadonlySet<number>;
}

export interface Answer {
  /** Without the prompt and without the token that ended it. */
  readonly ids: number[];
  /** What ended it: a stop token, max_new_tokens, or the end of the context. */
  readonly finish: "stop" | "length";
}

/** Tokens that a round computes at most: prompts go through in pieces of this size. */
const ROUND_TOKENS = 256;

interface Lane {
  readonly index: number;
  /** Which prompt it answers, or none. */
  prompt: number | undefined;
  /** Tokens that lie in the cache. */
  held: number;
  /** Tokens that do not yet. */
  pending: number[];
  /** Tokens of the prompt and of the answer. */
  seen: Set<number>;
  answer: number[];
}

export class Generator {
  private readonly adapted: AdaptedModel;
  private readonly options: GeneratorOptions;
  private readonly plan: Plan;
  private readonly inputs: TracedInputs;
  private readonly slots: Value;
  private readonly caches: readonly Value[];
  private readonly logits: Value;
  private readonly tokens: number;
  private live:
    | { readonly program: Program; readonly caches: readonly GPUBuffer[]; readonly staging: GPUBuffer }
    | undefined;

  constructor(adapted: AdaptedModel, options: GeneratorOptions) {
    const { lanes, context, asBase = false } = options;
    const { config } = adapted.model;
    this.adapted = adapted;
    this.options = options;
    this.tokens = Math.max(lanes, Math.min(ROUND_TOKENS, lanes * context));
    const graph = new Graph(this.tokens, lanes);
    this.slots = graph.input("slots", [graph.tokens], "u32");
    const width = 2 * config.keyValueHeads * config.headDim;
    this.caches = config.slidingWindow.map((_, i) =>
      graph.state(`keys and values ${i}`, [lanes * context, width]),
    );
    const cache = { slots: this.slots, layers: this.caches };
    const { inputs, hidden, head } = adapted.trace(graph, { longest: context, trains: false, asBase, cache });
    this.inputs = inputs;
    this.logits = head.logits(gatherRows(graph, hidden, inputs.targetRow));
    graph.keep("logits", this.logits);
    this.plan = makePlan(graph, adapted.gpu.traits);
  }

  /** Bytes on the device, beside the model itself. */
  bytes(): Plan["bytes"] {
    const { bytes } = this.plan;
    const caches = this.caches.reduce((sum, cache) => sum + cacheBytes(cache), 0);
    return {
      ...bytes,
      activations: bytes.activations + caches,
      control: bytes.control + blockBytes(this.logitBytes(this.options.lanes)),
    };
  }

  async prepare(): Promise<void> {
    const { gpu, kernels } = this.adapted;
    await this.adapted.load();
    const caches = this.caches.map((cache) => {
      const buffer = gpu.create(cache.name, cacheBytes(cache), "activations");
      cache.storage = { buffer, offset: 0, size: buffer.size };
      return buffer;
    });
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const staging = gpu.create("logits", blockBytes(this.logitBytes(this.options.lanes)), "control", usage);
    this.live = { program: await Program.create(gpu, kernels, this.plan), caches, staging };
  }

  /**
   * Answers every prompt. `onToken` hears of each token as it is chosen. `isStopped` is asked between rounds; answers
   * are then given as far as they have come. Throws DataError where a prompt leaves no room for an answer, and
   * GraftError "not-finite" where the model gives no numbers.
   */
  async generate(
    prompts: readonly Uint32Array[],
    settings: GenerationSettings,
    onToken: (prompt: number, id: number) => void = () => {},
    isStopped: () => boolean = () => false,
  ): Promise<Answer[]> {
    const { lanes: count, context, asBase } = this.options;
    const whose = asBase || this.adapted.layout.tensors.size === 0 ? "base" : "trained";
    for (const [i, prompt] of prompts.entries()) checkPrompt(prompt, i, context);
    this.adapted.update();
    const answers: Answer[] = prompts.map(() => ({ ids: [], finish: "length" }));
    const lanes = Array.from(
      { length: Math.min(count, prompts.length) },
      (_, index): Lane => ({ index, prompt: undefined, held: 0, pending: [], seen: new Set(), answer: [] }),
    );
    let next = 0;
    while (!isStopped()) {
      for (const lane of lanes) {
        if (lane.prompt !== undefined || next === prompts.length) continue;
        Object.assign(lane, {
          prompt: next,
          held: 0,
          pending: [...prompts[next]!],
          seen: new Set(prompts[next]!),
          answer: answers[next]!.ids,
        });
        next++;
      }
      const busy = lanes.filter(({ prompt }) => prompt !== undefined);
      if (busy.length === 0) break;
      for (const { lane, logits } of await this.round(busy)) {
        const prompt = lane.prompt!;
        checkLogits(logits, whose);
        penalise(logits, lane.seen, settings.repetition_penalty);
        const id = sample(logits, settings, prompt, lane.answer.length);
        const stops = settings.stopIds.has(id);
        if (!stops) {
          lane.answer.push(id);
          lane.seen.add(id);
          onToken(prompt, id);
        }
        if (stops) answers[prompt] = { ids: lane.answer, finish: "stop" };
        const isFull = lane.answer.length >= settings.max_new_tokens || lane.held >= context;
        if (stops || isFull) lane.prompt = undefined;
        else lane.pending = [id];
      }
    }
    return answers;
  }

  destroy(): void {
    if (!this.live) return;
    const { program, caches, staging } = this.live;
    program.destroy();
    for (const buffer of [...caches, staging]) this.adapted.gpu.destroy(buffer);
    this.live = undefined;
  }

  /** Computes what is pending, as far as a round holds it; gives the logits of the lanes that are through. */
  private async round(busy: readonly Lane[]): Promise<{ lane: Lane; logits: Float32Array }[]> {
    if (!this.live) throw new GraftError("not-prepared", "The generator was not prepared.");
    const { inputs, options, adapted } = this;
    const { program, staging } = this.live;
    const ids: number[] = [];
    const positions: number[] = [];
    const slots: number[] = [];
    const through: Lane[] = [];
    const targetRow: number[] = [];
    for (const lane of busy) {
      const start = lane.index * options.context;
      const taken = lane.pending.splice(0, this.tokens - ids.length);
      for (const id of taken) {
        ids.push(id);
        positions.push(lane.held);
        slots.push(start + lane.held);
        lane.held++;
      }
      if (taken.length === 0 || lane.pending.length > 0) continue;
      through.push(lane);
      targetRow.push(ids.length - 1);
    }
    program.write(inputs.ids, Uint32Array.from(ids));
    program.write(inputs.positions, Uint32Array.from(positions));
    program.write(this.slots, Uint32Array.from(slots));
    program.write(inputs.targetRow, Uint32Array.from(targetRow));
    for (const [window, { keyRange }] of inputs.ranges) {
      const ranges = slots.flatMap((slot, i) => {
        const reach = Math.min(positions[i]! + 1, window ?? Number.POSITIVE_INFINITY);
        return [slot + 1 - reach, slot + 1];
      });
      program.write(keyRange, Uint32Array.from(ranges));
    }
    program.setCounts({ tokens: ids.length, targets: through.length });
    const { device } = adapted.gpu;
    const encoder = device.createCommandEncoder();
    program.encodePass(encoder);
    const { buffer, offset } = program.rangeOf(this.logits);
    const bytes = this.logitBytes(through.length);
    if (bytes > 0) encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    if (through.length === 0) return [];
    await staging.mapAsync(GPUMapMode.READ, 0, bytes);
    const values = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    const width = this.logits.shape[1] as number;
    return through.map((lane, i) => ({ lane, logits: new Float32Array(values, 4 * i * width, width) }));
  }

  /** Of the logits of so many lanes. */
  private logitBytes(lanes: number): number {
    return 4 * lanes * (this.logits.shape[1] as number);
  }
}

function cacheBytes(cache: Value): number {
  const [slots, width] = cache.shape as readonly [number, number];
  return blockBytes(4 * slots * width);
}

/** Throws DataError where a prompt of this length leaves no room for an answer. */
export function checkPrompt(prompt: Uint32Array, index: number, context: number): void {
  if (prompt.length > 0 && prompt.length < context) return;
  throw new DataError(
    "prompt-length",
    `Prompt ${index + 1} has ${prompt.length} tokens, expected 1 to ${context - 1}.`,
    prompt.length === 0 ? "Write something." : "Shorten it.",
  );
}
