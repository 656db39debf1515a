/** A base model on the device with its trainable tensors: what training, evaluation and generation share. */
import { ConfigError, GraftError } from "../base/errors.ts";
import { blockBytes, type Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import { ArenaLayout, type ArenaRole, Arenas } from "../graph/arena.ts";
import { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/value.ts";
import type { LoraContext } from "../lora/layer.ts";
import type { Selection } from "../lora/selection.ts";
import { FrozenWeights } from "../models/frozen.ts";
import type { Model } from "../models/model.ts";
import { layOutTrainables } from "../models/trainables.ts";
import { type KeyValueCache, Tracer } from "../models/transformer.ts";
import type { Head } from "../ops/crossEntropy.ts";
import { DoraNorms } from "./doraNorms.ts";
import { type TracedInputs, traceInputs } from "./tracedInputs.ts";

/** Values to start from, by PEFT's key, in the engine's orientation. */
export interface StartingValues {
  /** Those that are computed from the base may take long; undefined where that was stopped. Asked again, it goes on. */
  compute(
    onProgress?: (done: number, total: number) => void,
    isStopped?: () => boolean,
  ): Promise<ReadonlyMap<string, Float32Array> | undefined>;
}

export interface AdaptedModelOptions {
  readonly gpu: Gpu;
  readonly kernels: Kernels;
  readonly model: Model;
  /** The model's tensors on the device, where others read them too: whoever made them destroys them. */
  readonly frozen?: FrozenWeights | undefined;
  readonly selection: Selection;
  readonly loraDropout: number;
  /** Of every trainable tensor, and of what begins as a part of the base. */
  readonly initial: StartingValues;
  /** False where it is only asked: there are no gradients and moments then, and it may change nothing of the base. */
  readonly trains?: boolean;
}

export interface TraceOptions {
  /** Tokens of the longest row. */
  readonly longest: number;
  /** Whether there are gradients and dropout. */
  readonly trains: boolean;
  /** Leaves the adapter out, whole modules too. */
  readonly asBase?: boolean;
  readonly cache?: KeyValueCache;
}

export interface Traced {
  readonly inputs: TracedInputs;
  /** After the last norm, [tokens, width]. */
  readonly hidden: Value;
  readonly head: Head;
}

export class AdaptedModel {
  readonly gpu: Gpu;
  readonly kernels: Kernels;
  readonly model: Model;
  readonly selection: Selection;
  /** Trainable tensors by PEFT's key, with their shapes in the engine's orientation. */
  readonly layout: ArenaLayout;
  /** The base model's tensors on the device. */
  readonly frozen: FrozenWeights;
  private readonly trains: boolean;
  private readonly options: AdaptedModelOptions;
  /** Traced before there was anything to bind them to. */
  private readonly unbound: Record<"parameters" | "scales" | "norms", Value[]> = {
    parameters: [],
    scales: [],
    norms: [],
  };
  /** Where the adapter is DoRA's. */
  private readonly norms: DoraNorms | undefined;
  private begun: ReadonlyMap<string, Float32Array> | undefined;
  private onDevice: { readonly arenas: Arenas; readonly scales: GPUBuffer } | undefined;

  /** Nothing is allocated on the device until `load`. Throws where nothing would train that should. */
  constructor(options: AdaptedModelOptions) {
    const { gpu, kernels, model, selection, trains = true } = options;
    this.options = options;
    this.gpu = gpu;
    this.kernels = kernels;
    this.model = model;
    this.selection = selection;
    this.layout = new ArenaLayout(gpu.traits.maxBinding);
    layOutTrainables(model, selection, this.layout);
    this.trains = trains;
    if (trains && this.layout.tensors.size === 0) {
      throw new ConfigError("nothing-trains", "No tensor would be trained.", "Choose target_modules.");
    }
    this.frozen = options.frozen ?? new FrozenWeights(gpu);
    if (selection.lora.some(({ hasMagnitude }) => hasMagnitude)) this.norms = this.traceNorms();
  }

  /** Traces inputs and model into a graph. A program of it can be made once `load` has been called after this. */
  trace(graph: Graph, { longest, trains, asBase, cache }: TraceOptions): Traced {
    const { model, options } = this;
    const selection = asBase ? { ...this.selection, lora: [], whole: [], tokens: [] } : this.selection;
    const inputs = traceInputs(graph, model.config.slidingWindow);
    const { rowInStep, seedStep, positions } = inputs;
    const scales = this.scales(graph);
    const p = trains ? options.loraDropout : 0;
    const lora: LoraContext = {
      scales,
      ...(p > 0 ? { dropout: { p, seedStep, rowInStep, positions } } : {}),
    };
    const tracer = this.tracer(graph, selection, trains);
    const hidden = tracer.hidden({ ...inputs, lora, ...(cache ? { cache } : {}) }, longest);
    const head = tracer.head(lora);
    this.unbound.parameters.push(...tracer.parameters);
    this.unbound.norms.push(...tracer.norms);
    return { inputs, hidden, head };
  }

  /**
   * Computes the values to start from, where that was not done yet. False where it was stopped meanwhile; it can be
   * asked again and goes on.
   */
  async begin(
    onProgress?: (done: number, total: number) => void,
    isStopped?: () => boolean,
  ): Promise<boolean> {
    this.begun ??= await this.options.initial.compute(onProgress, isStopped);
    return this.begun !== undefined;
  }

  /** Where what trains starts from, and the constants beside it, by key and in the engine's orientation. */
  get start(): ReadonlyMap<string, Float32Array> {
    if (!this.begun) throw new ConfigError("not-prepared", "The values to start from were not computed.");
    return this.begun;
  }

  /** Loads what has been traced and is not on the device yet, and gives every traced value its place. */
  async load(onProgress?: (loadedBytes: number, totalBytes: number) => void): Promise<void> {
    await this.begin();
    await this.frozen.load(onProgress);
    this.onDevice ??= this.allocate(this.begun!);
    const { arenas, scales } = this.onDevice;
    for (const parameter of this.unbound.parameters.splice(0)) arenas.bind(parameter);
    const size = 4 * Math.max(1, this.selection.lora.length);
    for (const value of this.unbound.scales.splice(0)) value.storage = { buffer: scales, offset: 0, size };
    await this.norms?.prepare(this.kernels);
    this.norms?.bind(this.unbound.norms.splice(0));
  }

  /**
   * Brings up to date what follows from the trainable tensors. Comes before programs of this model are submitted
   * wherever these may have changed: before a training step, an evaluation, an answer.
   */
  update(): void {
    this.norms?.update();
  }

  /** The arenas' buffers. */
  chunks(role: ArenaRole): readonly GPUBuffer[] {
    return this.loaded().arenas.chunks[role];
  }

  /** A trainable tensor as it is now, in the engine's orientation. */
  async read(key: string, role: ArenaRole = "parameters"): Promise<Float32Array> {
    return this.loaded().arenas.read(role, key);
  }

  /** All trainable tensors and the constants beside them as they are now, in the engine's orientation, by key. */
  readAll(): AsyncGenerator<[key: string, values: Float32Array]> {
    return this.loaded().arenas.readAll();
  }

  /** What it takes on the device, known before anything is loaded. */
  bytes(): { readonly base: number; readonly adapter: number; readonly optimizer: number } {
    const arena = this.layout.bytes();
    const adapter =
      arena + this.layout.constantsTotal() + this.scalesBytes() + (this.norms?.bytes().norms ?? 0);
    return { base: this.frozen.bytes(), adapter, optimizer: this.trains ? 3 * arena : 0 };
  }

  /** What `update` takes on the device beside them. */
  controlBytes(): number {
    return this.norms?.bytes().control ?? 0;
  }

  destroy(): void {
    if (this.onDevice) {
      this.onDevice.arenas.destroy();
      this.gpu.destroy(this.onDevice.scales);
      this.onDevice = undefined;
    }
    this.norms?.destroy();
    if (!this.options.frozen) this.frozen.destroy();
  }

  private tracer(graph: Graph, selection: Selection, withGradients: boolean): Tracer {
    const { model, frozen, layout } = this;
    const { maxBinding } = this.gpu.traits;
    return new Tracer({ graph, model, frozen, layout, selection, withGradients, maxBinding });
  }

  private traceNorms(): DoraNorms {
    const graph = new Graph(1, 1);
    const tracer = this.tracer(graph, this.selection, false);
    tracer.updateNorms(this.scales(graph));
    this.unbound.parameters.push(...tracer.parameters);
    return new DoraNorms(this.gpu, graph, tracer.norms);
  }

  /** lora_alpha / r of every adapted module, as a graph sees them. */
  private scales(graph: Graph): Value {
    const scales = graph.state("lora scales", [Math.max(1, this.selection.lora.length)]);
    this.unbound.scales.push(scales);
    return scales;
  }

  private allocate(initial: ReadonlyMap<string, Float32Array>) {
    const { gpu, layout, selection, trains } = this;
    const arenas = new Arenas(gpu, layout, { trains });
    const missing = [...layout.constants.keys()].find((key) => !initial.has(key));
    if (missing !== undefined) throw new GraftError("no-start", `The ${missing} was not computed.`);
    for (const [key, values] of initial) arenas.write("parameters", key, values);
    const scales = gpu.create("scales", this.scalesBytes(), "adapter");
    gpu.device.queue.writeBuffer(
      scales,
      0,
      Float32Array.from(selection.lora, ({ scale }) => scale),
    );
    return { arenas, scales };
  }

  private scalesBytes(): number {
    return blockBytes(4 * Math.max(1, this.selection.lora.length));
  }

  private loaded() {
    if (!this.onDevice) throw new ConfigError("not-prepared", "The model was not loaded.");
    return this.onDevice;
  }
}
