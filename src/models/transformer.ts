/** A decoder as a plain function over Values. Calling it records the graph; families differ by their config alone. */
import type { StoredTensor } from "../base/bytes.ts";
import { ConfigError, DeviceError, FormatError } from "../base/errors.ts";
import { toFloat32 } from "../formats/floats.ts";
import { BLOCK_BYTES } from "../gpu/device.ts";
import type { ArenaLayout, ArenaTensor } from "../graph/arena.ts";
import type { Graph } from "../graph/graph.ts";
import { bytesPerElement, type Value } from "../graph/value.ts";
import { loraBiasKey, loraKey, magnitudeKey, startKey } from "../lora/adapterKeys.ts";
import { type AdaptedModule, type LoraContext, type Projection, project } from "../lora/layer.ts";
import type { ModuleDescriptor } from "../lora/modules.ts";
import { type BaseParameter, namedParameters } from "../lora/requiresGrad.ts";
import { rowNorms, type StoredMatrix } from "../lora/rowNorms.ts";
import type { LoraTarget, Selection, TokenRows } from "../lora/selection.ts";
import { attention } from "../ops/attention.ts";
import { appendToCache } from "../ops/cache.ts";
import type { Head } from "../ops/crossEntropy.ts";
import { type Stretch, stretch, updateNorms } from "../ops/dora.ts";
import { updateTableNorms } from "../ops/doraEmbedding.ts";
import { embedding } from "../ops/embedding.ts";
import { gelu } from "../ops/gelu.ts";
import { headNorm } from "../ops/headnorm.ts";
import { layerNorm } from "../ops/layernorm.ts";
import type { LowRank } from "../ops/lora.ts";
import { embeddingPath } from "../ops/loraEmbedding.ts";
import { rmsNorm } from "../ops/rmsnorm.ts";
import { rotary } from "../ops/rotary.ts";
import { swiglu } from "../ops/swiglu.ts";
import { type ReplacedRows, stackRows, type Weight, type WeightSlice } from "../ops/weight.ts";
import { checkpointTensor, type FrozenWeights } from "./frozen.ts";
import type { ModelConfig } from "./modelConfig.ts";
import { rotaryTables } from "./rotary.ts";
import { describeModules, type LayerNames, modelNames } from "./skeleton.ts";

/** What the trace needs of a micro-batch. */
export interface ModelInputs {
  readonly ids: Value;
  readonly positions: Value;
  /** By window of attention; undefined is all of the row. */
  readonly ranges: ReadonlyMap<
    number | undefined,
    { readonly keyRange: Value; readonly queryRange?: Value | undefined }
  >;
  readonly lora: LoraContext;
  /** Where generation keeps keys and values: the ranges then speak of its slots, not of this micro-batch's tokens. */
  readonly cache?: KeyValueCache;
}

export interface KeyValueCache {
  /** u32 [tokens]: where each token's keys and values go. */
  readonly slots: Value;
  /** For each layer, [slots, 2 · key/value heads · head dim]: keys beside values. */
  readonly layers: readonly Value[];
}

/** Everything about a model that does not depend on the micro-batch. */
export class Model {
  readonly config: ModelConfig;
  readonly modules: readonly ModuleDescriptor[];
  private readonly byName: ReadonlyMap<string, ModuleDescriptor>;
  private readonly tensors: ReadonlyMap<string, StoredTensor>;

  constructor(config: ModelConfig, tensors: ReadonlyMap<string, StoredTensor>) {
    this.config = config;
    this.tensors = tensors;
    this.modules = describeModules(config);
    this.byName = new Map(this.modules.map((module) => [module.name, module]));
  }

  module(name: string): ModuleDescriptor {
    const module = this.byName.get(name);
    if (!module) throw new ConfigError("no-module", `The model has no module "${name}".`);
    return module;
  }

  /** A parameter as the checkpoint stores it, by Transformers' name. A tied head is the embedding. */
  stored(full: string): StoredTensor | undefined {
    const { embedding: table, head } = modelNames(this.config);
    const own = this.config.tied && full === `${head}.weight` ? `${table}.weight` : full;
    return checkpointTensor(this.tensors, own);
  }

  /** A module's parameter in the checkpoint, its shape checked. */
  tensor(name: string, parameter: string): StoredTensor {
    const full = `${name}.${parameter}`;
    const tensor = this.stored(full);
    const wanted = this.module(name).parameters[parameter]!;
    if (!tensor) {
      throw new FormatError(
        "tensor-missing",
        `The checkpoint has no tensor "${full}" of shape [${wanted}].`,
        "Check that config.json belongs to these weights and that no file is missing.",
      );
    }
    if (tensor.shape.length !== wanted.length || tensor.shape.some((size, i) => size !== wanted[i])) {
      throw new FormatError(
        "shape-mismatch",
        `"${full}" has shape [${tensor.shape}], config.json asks for [${wanted}].`,
        "Check that config.json belongs to these weights.",
      );
    }
    return tensor;
  }

  /** A module's weight, decoded, as the checkpoint stores it. */
  async matrix(name: string): Promise<StoredMatrix> {
    const tensor = this.tensor(name, "weight");
    const { inFeatures, outFeatures, kind } = this.module(name);
    const values = toFloat32(await tensor.read(), tensor.dtype);
    // What an embedding puts in is a one-hot id, so its table lies as [in, out] too.
    return { name, values, inFeatures, outFeatures, turned: kind === "conv1d" || kind === "embedding" };
  }

  /** Every parameter once, as PyTorch lists them: a tied head's is the embedding's. */
  namedParameters(): BaseParameter[] {
    return namedParameters(this.modules);
  }

  /** Numbers of the base model: the tied head counts once. */
  parameterCount(): number {
    return this.namedParameters()
      .map(({ module, parameter }) => module.parameters[parameter]!)
      .reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 1), 0);
  }
}

/** Linear modules that share an input, and so one product and one launch of each low-rank pass. */
function projectionsOf(config: ModelConfig): (readonly string[])[] {
  const { layers, head } = modelNames(config);
  return [...layers.flatMap(({ qkv, output, mlpIn, mlpOut }) => [qkv, [output], mlpIn, [mlpOut]]), [head]];
}

/** Gives every trainable tensor its place. Factors that one kernel reaches together share a chunk. */
export function layOutTrainables(model: Model, selection: Selection, layout: ArenaLayout): void {
  const targets = new Map(selection.lora.map((target) => [target.module.name, target]));
  const { embedding: table, positions } = modelNames(model.config);
  const tables = positions ? [[table], [positions]] : [[table]];
  const tied = selection.lora.some(({ tiedTo }) => tiedTo !== undefined);
  const apart = [...tables, ...projectionsOf(model.config)];
  // The optimizer reaches tied factors together.
  const together = tied ? [[table, modelNames(model.config).head], ...apart.slice(1, -1)] : apart;
  for (const names of together) {
    const adapted = names.flatMap((name) => targets.get(name) ?? []);
    if (adapted.length === 0) continue;
    layout.placeTogether(
      adapted.flatMap(({ module, r, hasBias }) => [
        { name: loraKey(module.name, "lora_A", module.kind), shape: [r, module.inFeatures] },
        { name: loraKey(module.name, "lora_B", module.kind), shape: [module.outFeatures, r] },
        ...(hasBias ? [{ name: loraBiasKey(module.name), shape: [module.outFeatures] }] : []),
      ]),
      adapted
        .filter(({ fromBase }) => fromBase !== null)
        .flatMap(({ module, r }) => [
          { name: startKey(module.name, "lora_A"), shape: [r, module.inFeatures] },
          { name: startKey(module.name, "lora_B"), shape: [module.outFeatures, r] },
        ]),
    );
  }
  for (const { module, hasMagnitude } of selection.lora) {
    if (hasMagnitude) layout.place(magnitudeKey(module.name), [module.outFeatures]);
  }
  for (const { module, parameter, key, tiedTo } of selection.whole) {
    if (tiedTo !== undefined) continue;
    const shape = module.parameters[parameter]!;
    const turned = module.kind === "conv1d" && shape.length === 2 ? [shape[1]!, shape[0]!] : shape;
    layout.place(key, turned);
  }
  for (const { key, module, indices } of selection.tokens) {
    const width = module.parameters.weight![1]!;
    if (!layout.tensors.has(key)) layout.place(key, [indices.length, width]);
  }
  layout.placeConstants();
}

/** Modules whose weights share a buffer with no other's, since they, their biases or magnitudes of their rows train. */
function modulesApart(selection: Selection): ReadonlySet<string> {
  const stretched = selection.lora.filter(({ hasMagnitude }) => hasMagnitude);
  return new Set([...selection.whole, ...stretched].map(({ module }) => module.name));
}

/** Rows of a slice: a vector beside it, one f32 a row, then begins where a binding may. */
function wholeBlocks(rows: number): number {
  const rowsOfBlock = BLOCK_BYTES / bytesPerElement.f32;
  return rows < rowsOfBlock ? rows : rows - (rows % rowsOfBlock);
}

/** Traces the model into a graph. One tracer serves one graph. */
export class Tracer {
  readonly parameters = new Map<string, Value>();
  /** Norms of rows that DoRA stretches, f32 [rows], by name: state that `updateNorms` of one graph writes for all. */
  readonly norms = new Map<string, Value>();
  private readonly graph: Graph;
  private readonly model: Model;
  private readonly frozen: FrozenWeights;
  private readonly layout: ArenaLayout;
  /** PEFT's keys of the base model's parameters that train, by the base model's names. */
  private readonly whole: ReadonlyMap<string, string>;
  private readonly tokens: ReadonlyMap<string, TokenRows>;
  private readonly apart: ReadonlySet<string>;
  private readonly targets: ReadonlyMap<string, LoraTarget & { readonly index: number }>;
  private readonly trained: boolean;
  private readonly maxBinding: number;

  constructor(options: {
    graph: Graph;
    model: Model;
    frozen: FrozenWeights;
    layout: ArenaLayout;
    selection: Selection;
    /** False for evaluation: parameters are there, gradients are not. */
    trained: boolean;
    /** Bytes that a binding may have; larger matrices are cut into slices. */
    maxBinding: number;
  }) {
    this.graph = options.graph;
    this.model = options.model;
    this.frozen = options.frozen;
    this.layout = options.layout;
    this.trained = options.trained;
    this.maxBinding = options.maxBinding;
    const { lora, whole, tokens } = options.selection;
    this.tokens = new Map(tokens.map((one) => [one.module.name, one]));
    this.whole = new Map(
      whole.map(({ module, parameter, key, tiedTo }) => [`${module.name}.${parameter}`, tiedTo ?? key]),
    );
    this.apart = modulesApart(options.selection);
    this.targets = new Map(lora.map((target, index) => [target.module.name, { ...target, index }]));
  }

  /** ids [tokens] → hidden states after the last norm [tokens, width]. `maxPositions`: the longest row. */
  hidden(inputs: ModelInputs, maxPositions: number): Value {
    const { graph } = this;
    const { config } = this.model;
    const names = modelNames(config);
    let h = this.embed(names.embedding, inputs.ids, inputs.lora);
    if (names.positions) h = this.embed(names.positions, inputs.positions, inputs.lora, h);
    const turn = this.rotation(maxPositions);
    names.layers.forEach((layer, i) => {
      h = graph.inBlock(i, () => this.block(h, layer, i, inputs, turn));
    });
    return this.norm(h, names.norm);
  }

  /** A frozen table's rows by id [tokens, width], with what LoRA adds to them, on top of soFar. */
  private embed(name: string, ids: Value, { scales }: LoraContext, soFar?: Value): Value {
    const { graph } = this;
    const trained = this.wholeParameter(name, "weight");
    const table = trained ? stackRows(name, [trained]) : this.table(name);
    const features = this.features(name);
    const stretches = this.stretches(name, features.slices);
    const isStretched = stretches[0] !== undefined;
    const plain = { soFar: isStretched ? undefined : soFar, replaced: this.replaced(name) };
    const y = embedding(graph, ids, table, plain);
    const [adapted] = this.adapted(name, 0);
    const z = adapted ? embeddingPath(graph, ids, y, adapted, scales) : y;
    return isStretched ? stretch(graph, z, features, { stretches, biases: [], soFar }) : z;
  }

  /** What DoRA stretches of an embedding: its features, each over all ids. */
  private features(name: string) {
    const { inFeatures: width, outFeatures: rows } = this.model.module(name);
    return { name, rows, width, slices: [{ rowStart: 0, rows }] };
  }

  /** Rows that train in the place of a table's or the head's own. */
  private replaced(name: string): ReplacedRows | undefined {
    const tokens = this.tokens.get(name);
    return tokens && { indices: tokens.indices, value: this.parameter(tokens.key) };
  }

  /** Writes the norms of all rows that DoRA stretches, from the adapter as it is when this runs. */
  updateNorms(scales: Value): void {
    for (const [name, { index, hasMagnitude, module }] of this.targets) {
      if (!hasMagnitude) continue;
      const lora = {
        a: this.parameter(loraKey(module.name, "lora_A", module.kind)),
        b: this.parameter(loraKey(module.name, "lora_B", module.kind)),
        start: this.start(name),
        scale: index,
      };
      const valuesOf = (start: number, end: number) => ({
        lengths: this.lengths(name, start, end),
        scales,
        norm: this.rowNorm(name, start, end),
      });
      if (module.kind === "embedding") {
        updateTableNorms(this.graph, this.table(name), lora, valuesOf(0, module.outFeatures));
        continue;
      }
      for (const slice of this.frozenWeight(name).slices) {
        updateNorms(this.graph, slice, lora, valuesOf(slice.rowStart, slice.rowStart + slice.rows));
      }
    }
  }

  /** Norms of the rows [start, end) of a frozen matrix, or of features of an embedding. */
  private lengths(name: string, start: number, end: number): Value {
    const lengths = this.graph.constant(`${name} lengths [${start}, ${end})`, [end - start], "f32");
    const compute = async () => rowNorms(await this.model.matrix(name)).subarray(start, end);
    this.frozen.bind(lengths.name, lengths, 4 * (end - start), { compute });
    return lengths;
  }

  /** The output embedding: what turns hidden states into logits. */
  head(lora: LoraContext): Head {
    const { head } = modelNames(this.model.config);
    const trained = this.wholeParameter(head, "weight");
    const weight = trained ? stackRows(head, [trained]) : this.frozenWeight(head);
    const stretches = this.stretches(head, weight.slices);
    const replaced = this.replaced(head);
    const projection = { weight, biases: [], adapted: this.adapted(head, 0), stretches, replaced };
    return {
      vocabulary: weight.rows,
      logits: (rows, pick) => {
        const { dropout } = lora;
        if (!dropout || !pick || projection.adapted.length === 0) {
          return project(this.graph, rows, projection, { scales: lora.scales });
        }
        // A mask belongs to a token of a row, wherever the trained ones have been gathered.
        const [rowInStep, positions] = [pick(dropout.rowInStep), pick(dropout.positions)];
        const dropped = { ...dropout, rowInStep, positions };
        return project(this.graph, rows, projection, { scales: lora.scales, dropout: dropped });
      },
    };
  }

  private block(
    x: Value,
    layer: LayerNames,
    index: number,
    inputs: ModelInputs,
    turn: { cos: Value; sin: Value } | undefined,
  ): Value {
    const { graph } = this;
    const { config } = this.model;
    const { heads, keyValueHeads, headDim } = config;
    let qkv = project(graph, this.norm(x, layer.attentionNorm), this.projection(layer.qkv), inputs.lora);
    if (layer.queryNorm && layer.keyNorm) {
      const gains = [layer.queryNorm, layer.keyNorm].map((name) => this.vector(name, "weight")) as [
        Value,
        Value,
      ];
      qkv = headNorm(graph, qkv, ...gains, { heads, keyValueHeads, headDim, eps: config.normEps });
    }
    if (turn) {
      qkv = rotary(
        graph,
        qkv,
        { heads: heads + keyValueHeads, headDim },
        inputs.positions,
        turn.cos,
        turn.sin,
      );
    }
    const { keyRange, queryRange } = inputs.ranges.get(config.slidingWindow[index])!;
    const keyStart = heads * headDim;
    const valueWidth = keyValueHeads * headDim;
    let kv = { value: qkv, keyStart, valueStart: keyStart + valueWidth };
    if (inputs.cache) {
      const cache = inputs.cache.layers[index]!;
      appendToCache(graph, cache, inputs.cache.slots, qkv, keyStart);
      kv = { value: cache, keyStart: 0, valueStart: valueWidth };
    }
    const attended = attention(graph, {
      q: { value: qkv, start: 0 },
      kv,
      heads,
      keyValueHeads,
      headDim,
      scale: config.attentionScale[index]!,
      keyRange,
      // What looks back over a cache takes no gradient.
      queryRange: inputs.cache ? undefined : queryRange,
    });
    const h = project(graph, attended, this.projection([layer.output]), inputs.lora, x);
    const inner = project(graph, this.norm(h, layer.mlpNorm), this.projection(layer.mlpIn), inputs.lora);
    const activated =
      config.mlpKind === "gated"
        ? swiglu(graph, inner)
        : gelu(graph, inner, config.activation === "gelu" ? "exact" : "tanh");
    return project(graph, activated, this.projection([layer.mlpOut]), inputs.lora, h);
  }

  private norm(x: Value, name: string): Value {
    const { normKind, normEps } = this.model.config;
    const gain = this.vector(name, "weight");
    return normKind === "rms"
      ? rmsNorm(this.graph, x, gain, normEps)
      : layerNorm(this.graph, x, gain, this.vector(name, "bias"), normEps);
  }

  /** Joins linear modules that share their input. Neighbours that are frozen and stored alike lie in one buffer. */
  private projection(names: readonly string[]): Projection {
    const values: Value[] = [];
    const biases: Value[] = [];
    const adapted: AdaptedModule[] = [];
    const stretches: (Stretch | undefined)[] = [];
    const hasBias = this.model.module(names[0]!).parameters.bias !== undefined;
    let row = 0;
    let run: string[] = [];
    const flush = (): void => {
      if (run.length === 0) return;
      const slices = this.matrix(run);
      values.push(...slices);
      stretches.push(...this.stretches(run[0]!, stackRows(run[0]!, slices).slices));
      if (hasBias) biases.push(...this.biasSlices(run, slices));
      run = [];
    };
    for (const name of names) {
      const { inFeatures, outFeatures } = this.model.module(name);
      adapted.push(...this.adapted(name, row));
      row += outFeatures;
      const trained = this.wholeParameter(name, "weight");
      if (trained) {
        flush();
        values.push(trained);
        stretches.push(undefined);
        if (hasBias) biases.push(this.vector(name, "bias"));
        continue;
      }
      const first = run[0];
      if (first !== undefined && !this.sharesBuffer(first, name, run, inFeatures)) flush();
      run.push(name);
    }
    flush();
    return { weight: stackRows(names.join(" + "), values), biases, adapted, stretches };
  }

  /** The low-rank path of a module whose rows begin at `rowStart` of a projection, where it has one. */
  private adapted(name: string, rowStart: number): AdaptedModule[] {
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
  private stretches(
    name: string,
    slices: readonly Pick<WeightSlice, "rowStart" | "rows">[],
  ): (Stretch | undefined)[] {
    if (!this.targets.get(name)?.hasMagnitude) return slices.map(() => undefined);
    return slices.map(({ rowStart, rows }) => ({
      magnitude: this.parameterRows(magnitudeKey(name), rowStart, rowStart + rows),
      norm: this.rowNorm(name, rowStart, rowStart + rows),
    }));
  }

  private rowNorm(name: string, start: number, end: number): Value {
    const key = `norms of ${name} [${start}, ${end})`;
    let value = this.norms.get(key);
    if (!value) {
      value = this.graph.state(key, [end - start]);
      this.norms.set(key, value);
    }
    return value;
  }

  private sharesBuffer(first: string, name: string, run: readonly string[], width: number): boolean {
    if (this.apart.has(first) || this.apart.has(name)) return false;
    const tensor = this.model.tensor(name, "weight");
    // What another graph keeps apart is not loaded again to be joined.
    if (this.frozen.liesApart(this.model.tensor(run.at(-1)!, "weight"), tensor)) return false;
    const dtype = this.frozen.typeOf(tensor);
    const rows = [...run, name].reduce((sum, part) => sum + this.model.module(part).outFeatures, 0);
    const fits = rows * width * bytesPerElement[dtype] <= this.maxBinding;
    return fits && dtype === this.frozen.typeOf(this.model.tensor(first, "weight"));
  }

  /** A tensor of the arenas: one that trains, or a constant beside them. */
  private parameter(key: string): Value {
    let value = this.parameters.get(key);
    if (!value) {
      const { tensors, constants } = this.layout;
      const tensor: ArenaTensor | undefined = tensors.get(key) ?? constants.get(key);
      if (!tensor) throw new ConfigError("no-parameter", `${key} has no place in the arenas.`);
      value = this.graph.parameter(key, tensor.shape, tensor.place, this.trained && tensors.has(key));
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
      value = this.graph.parameter(name, [end - start], part, this.trained);
      this.parameters.set(name, value);
    }
    return value;
  }

  /** A norm's gain, or a bias, [width] in f32. */
  private vector(name: string, parameter: string): Value {
    return this.wholeParameter(name, parameter) ?? this.stackedVector([name], parameter);
  }

  /** A parameter of the base model, where it trains. */
  private wholeParameter(name: string, parameter: string): Value | undefined {
    const key = this.whole.get(`${name}.${parameter}`);
    return key === undefined ? undefined : this.parameter(key);
  }

  private stackedVector(names: readonly string[], parameter: string): Value {
    const tensors = names.map((name) => this.model.tensor(name, parameter));
    const length = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const key = names.map((name) => `${name}.${parameter}`).join(" + ");
    const value = this.graph.constant(key, [length], "f32");
    this.frozen.bind(key, value, 4 * length, { tensors, transposed: false, dtype: "f32" });
    return value;
  }

  /** A bias per slice of a frozen matrix. One that trains belongs to a module apart. */
  private biasSlices(names: readonly string[], slices: readonly Value[]): Value[] {
    const trained = this.whole.get(`${names[0]}.bias`);
    if (trained !== undefined) {
      let end = 0;
      return slices.map(({ shape: [rows] }) => {
        end += rows as number;
        return this.parameterRows(trained, end - (rows as number), end);
      });
    }
    if (slices.length === 1) return [this.stackedVector(names, "bias")];
    const tensors = names.map((name) => this.model.tensor(name, "bias"));
    let start = 0;
    return slices.map((slice) => {
      const rows = slice.shape[0] as number;
      const key = `${slice.name} bias`;
      const value = this.graph.constant(key, [rows], "f32");
      const range = [start, start + rows] as const;
      this.frozen.bind(key, value, 4 * rows, { tensors, transposed: false, dtype: "f32", rows: range });
      start += rows;
      return value;
    });
  }

  /** A frozen module's own weight; a tied head's is the embedding's. */
  private frozenWeight(name: string): Weight {
    const { head, embedding: table } = modelNames(this.model.config);
    return this.table(name === head && this.model.config.tied ? table : name);
  }

  private table(name: string): Weight {
    return stackRows(name, this.matrix([name]));
  }

  /** Frozen modules one below the other, as one constant, or several where it would pass a binding. */
  private matrix(names: readonly string[]): Value[] {
    const tensors = names.map((name) => this.model.tensor(name, "weight"));
    const transposed = this.model.module(names[0]!).kind === "conv1d";
    const dtype = this.frozen.typeOf(tensors[0]!);
    const width = tensors[0]!.shape[transposed ? 0 : 1]!;
    const rows = tensors.reduce((sum, { shape }) => sum + shape[transposed ? 1 : 0]!, 0);
    const rowBytes = width * bytesPerElement[dtype];
    const perSlice = Math.min(rows, wholeBlocks(Math.floor(this.maxBinding / rowBytes)));
    const whole = names.map((name) => `${name}.weight`).join(" + ");
    return Array.from({ length: Math.ceil(rows / perSlice) }, (_, i) => {
      const start = i * perSlice;
      const end = Math.min(rows, start + perSlice);
      const key = perSlice === rows ? whole : `${whole} [${start}, ${end})`;
      const value = this.graph.constant(key, [end - start, width], dtype);
      const source = {
        tensors,
        transposed,
        dtype,
        ...(perSlice === rows ? {} : { rows: [start, end] as const }),
      };
      this.frozen.bind(key, value, (end - start) * rowBytes, source);
      return value;
    });
  }

  private rotation(positions: number): { cos: Value; sin: Value } | undefined {
    const { rotary: setting, headDim } = this.model.config;
    if (!setting) return undefined;
    const { cos, sin } = rotaryTables(setting, headDim, positions);
    const table = (name: string, numbers: Float32Array): Value => {
      const value = this.graph.constant(name, [positions, headDim / 2], "f32");
      this.frozen.bind(`${name} ${positions}`, value, numbers.byteLength, { numbers });
      return value;
    };
    return { cos: table("rotary cos", cos), sin: table("rotary sin", sin) };
  }
}
