/** What of a model trains, as a graph's parameters: LoRA's factors, magnitudes, rows, and whole tensors of the base. */
import { ConfigError, DeviceError } from "../base/errors.ts";
import { BLOCK_BYTES } from "../gpu/device.ts";
import type { ArenaLayout, ArenaTensor } from "../graph/arena.ts";
import type { Graph } from "../graph/graph.ts";
import { bytesPerElement, type Value } from "../graph/value.ts";
import { loraBiasKey, loraKey, magnitudeKey, startKey } from "../lora/adapterKeys.ts";
import type { AdaptedModule } from "../lora/layer.ts";
import type { LoraTarget, Selection, TokenRows } from "../lora/selection.ts";
import type { Stretch } from "../ops/dora.ts";
import type { LowRank } from "../ops/lora.ts";
import type { ReplacedRows, WeightSlice } from "../ops/weight.ts";

export class TrainedValues {
  readonly parameters = new Map<string, Value>();
  /** Norms of rows that DoRA stretches, f32 [rows], by name. */
  readonly norms = new Map<string, Value>();
  /** By module, in the order of the factors' scales. */
  readonly targets: ReadonlyMap<string, LoraTarget & { readonly index: number }>;
  private readonly graph: Graph;
  private readonly layout: ArenaLayout;
  /** PEFT's keys of the base model's parameters that train, by the base model's names. */
  private readonly wholeKeys: ReadonlyMap<string, string>;
  private readonly tokens: ReadonlyMap<string, TokenRows>;
  /** Modules whose weights share a buffer with no other's, since they, their biases or magnitudes of their rows train. */
  private readonly apart: ReadonlySet<string>;
  private readonly withGradients: boolean;
  private readonly maxBinding: number;

  constructor(options: {
    graph: Graph;
    layout: ArenaLayout;
    selection: Selection;
    withGradients: boolean;
    maxBinding: number;
  }) {
    this.graph = options.graph;
    this.layout = options.layout;
    this.withGradients = options.withGradients;
    this.maxBinding = options.maxBinding;
    const { lora, whole, tokens } = options.selection;
    this.targets = new Map(lora.map((target, index) => [target.module.name, { ...target, index }]));
    this.wholeKeys = new Map(
      whole.map(({ module, parameter, key, tiedTo }) => [`${module.name}.${parameter}`, tiedTo ?? key]),
    );
    this.tokens = new Map(tokens.map((one) => [one.module.name, one]));
    const stretched = lora.filter(({ hasMagnitude }) => hasMagnitude);
    this.apart = new Set([...whole, ...stretched].map(({ module }) => module.name));
  }

  /** Whether a module's weight shares a buffer with no other's. */
  isApart(name: string): boolean {
    return this.apart.has(name);
  }

  /** A tensor of the arenas: one that trains, or a constant beside them. */
  private parameter(key: string): Value {
    let value = this.parameters.get(key);
    if (!value) {
      const { tensors, constants } = this.layout;
      const tensor: ArenaTensor | undefined = tensors.get(key) ?? constants.get(key);
      if (!tensor) throw new ConfigError("no-parameter", `${key} has no place in the arenas.`);
      value = this.graph.parameter(key, tensor.shape, tensor.place, this.withGradients && tensors.has(key));
      this.parameters.set(key, value);
    }
    return value;
  }

  /** The rows [start, end) of a trainable vector, as a tensor of its own. */
  private parameterRows(key: string, start: number, end: number): Value {
    const { shape, place } = this.layout.tensors.get(key)!;
    if (start === 0 && end === shape[0]) return this.parameter(key);
    const offset = bytesPerElement.f32 * start;
    if (offset % BLOCK_BYTES !== 0) {
      throw new DeviceError(
        "binding-too-small",
        `${key}: this device binds ${this.maxBinding} bytes, less than ${BLOCK_BYTES / bytesPerElement.f32} rows of the matrix.`,
        "Leave the module out of target_modules, or train it without use_dora and bias.",
      );
    }
    const name = `${key} [${start}, ${end})`;
    let value = this.parameters.get(name);
    if (!value) {
      const part = { chunk: place.chunk, byteOffset: place.byteOffset + offset };
      value = this.graph.parameter(name, [end - start], part, this.withGradients);
      this.parameters.set(name, value);
    }
    return value;
  }

  /** A parameter of the base model, where it trains. */
  whole(name: string, parameter: string): Value | undefined {
    const key = this.wholeKeys.get(`${name}.${parameter}`);
    return key === undefined ? undefined : this.parameter(key);
  }

  /** Rows that train in the place of a table's or the head's own. */
  replaced(name: string): ReplacedRows | undefined {
    const tokens = this.tokens.get(name);
    return tokens && { indices: tokens.indices, value: this.parameter(tokens.key) };
  }

  /** The low-rank path of a module whose rows begin at `rowStart` of a projection, where it has one. */
  adapted(name: string, rowStart: number): AdaptedModule[] {
    const target = this.targets.get(name);
    if (!target) return [];
    const { index, hasBias, module } = target;
    const a = this.parameter(loraKey(module.name, "lora_A", module.kind));
    const b = this.parameter(loraKey(module.name, "lora_B", module.kind));
    const bias = hasBias ? this.parameter(loraBiasKey(name)) : undefined;
    const start = this.start(name);
    return [{ rowStart, rows: module.outFeatures, a, b, bias, start, scale: index, dropoutKey: index }];
  }

  /** What a module's A and B began as, where that counts as taken out of its weight. */
  private start(name: string): LowRank["start"] {
    if (!this.targets.get(name)?.fromBase) return undefined;
    return { a: this.parameter(startKey(name, "lora_A")), b: this.parameter(startKey(name, "lora_B")) };
  }

  /** What DoRA needs of each slice of a module's weight, where it adapts the module. */
  stretches(
    name: string,
    slices: readonly Pick<WeightSlice, "rowStart" | "rows">[],
  ): (Stretch | undefined)[] {
    if (!this.targets.get(name)?.hasMagnitude) return slices.map(() => undefined);
    return slices.map(({ rowStart, rows }) => ({
      magnitude: this.parameterRows(magnitudeKey(name), rowStart, rowStart + rows),
      norm: this.norm(name, rowStart, rowStart + rows),
    }));
  }

  /** The norms of a module's rows [start, end), where DoRA stretches them. */
  norm(name: string, start: number, end: number): Value {
    const key = `norms of ${name} [${start}, ${end})`;
    let value = this.norms.get(key);
    if (!value) {
      value = this.graph.state(key, [end - start]);
      this.norms.set(key, value);
    }
    return value;
  }

  /** A module's bias for each slice of its weight, where it trains. */
  biasSlices(name: string, slices: readonly Value[]): Value[] | undefined {
    const key = this.wholeKeys.get(`${name}.bias`);
    if (key === undefined) return undefined;
    let end = 0;
    return slices.map(({ shape: [rows] }) => {
      end += rows as number;
      return this.parameterRows(key, end - (rows as number), end);
    });
  }
}
