/** A decoder as a plain function over Values. Calling it records the graph; families differ by their config alone. */
import type { ArenaLayout } from "../graph/arena.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/value.ts";
import { type AdaptedModule, type LoraContext, type Projection, project } from "../lora/layer.ts";
import type { Selection } from "../lora/selection.ts";
import { attention } from "../ops/attention.ts";
import { appendToCache } from "../ops/cache.ts";
import type { Head } from "../ops/crossEntropy.ts";
import { type Stretch, stretch, updateNorms } from "../ops/dora.ts";
import { updateTableNorms } from "../ops/doraEmbedding.ts";
import { embedding } from "../ops/embedding.ts";
import { gelu } from "../ops/gelu.ts";
import { headNorm } from "../ops/headnorm.ts";
import { layerNorm } from "../ops/layernorm.ts";
import { embeddingPath } from "../ops/loraEmbedding.ts";
import { rmsNorm } from "../ops/rmsnorm.ts";
import { rotary } from "../ops/rotary.ts";
import { swiglu } from "../ops/swiglu.ts";
import { stackRows } from "../ops/weight.ts";
import type { FrozenWeights } from "./frozen.ts";
import { FrozenValues } from "./frozenValues.ts";
import type { Model } from "./model.ts";
import { type LayerNames, modelNames } from "./skeleton.ts";
import { TrainedValues } from "./trainedValues.ts";

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

/** Traces the model into a graph. One tracer serves one graph. */
export class Tracer {
  private readonly graph: Graph;
  private readonly model: Model;
  private readonly frozen: FrozenValues;
  private readonly trained: TrainedValues;

  constructor({
    graph,
    model,
    frozen,
    layout,
    selection,
    withGradients,
    maxBinding,
  }: {
    graph: Graph;
    model: Model;
    frozen: FrozenWeights;
    layout: ArenaLayout;
    selection: Selection;
    /** False for evaluation: parameters are there, gradients are not. */
    withGradients: boolean;
    /** Bytes that a binding may have; larger matrices are cut into slices. */
    maxBinding: number;
  }) {
    this.graph = graph;
    this.model = model;
    this.frozen = new FrozenValues({ graph, model, frozen, maxBinding });
    this.trained = new TrainedValues({ graph, layout, selection, withGradients, maxBinding });
  }

  /** What trains, as far as it was traced. */
  get parameters(): Value[] {
    return [...this.trained.parameters.values()];
  }

  /** Norms of rows that DoRA stretches, f32 [rows]: state that `updateNorms` of one graph writes for all. */
  get norms(): Value[] {
    return [...this.trained.norms.values()];
  }

  /** ids [tokens] → hidden states after the last norm [tokens, width]. `maxPositions`: the longest row. */
  hidden(inputs: ModelInputs, maxPositions: number): Value {
    const { graph } = this;
    const { config } = this.model;
    const names = modelNames(config);
    let h = this.embed(names.embedding, inputs.ids, inputs.lora);
    if (names.positions) h = this.embed(names.positions, inputs.positions, inputs.lora, h);
    const turn = this.frozen.rotation(maxPositions);
    names.layers.forEach((layer, i) => {
      h = graph.inBlock(i, () => this.block(h, layer, i, inputs, turn));
    });
    return this.norm(h, names.norm);
  }

  /** A frozen table's rows by id [tokens, width], with what LoRA adds to them, on top of soFar. */
  private embed(name: string, ids: Value, { scales }: LoraContext, soFar?: Value): Value {
    const { graph } = this;
    const trained = this.trained.whole(name, "weight");
    const table = trained ? stackRows(name, [trained]) : this.frozen.table(name);
    const features = this.features(name);
    const stretches = this.trained.stretches(name, features.slices);
    const isStretched = stretches[0] !== undefined;
    const plain = { soFar: isStretched ? undefined : soFar, replaced: this.trained.replaced(name) };
    const y = embedding(graph, ids, table, plain);
    const [adapted] = this.trained.adapted(name, 0);
    const z = adapted ? embeddingPath(graph, ids, y, adapted, scales) : y;
    return isStretched ? stretch(graph, z, features, { stretches, biases: [], soFar }) : z;
  }

  /** What DoRA stretches of an embedding: its features, each over all ids. */
  private features(name: string) {
    const { inFeatures: width, outFeatures: rows } = this.model.module(name);
    return { name, rows, width, slices: [{ rowStart: 0, rows }] };
  }

  /** Writes the norms of all rows that DoRA stretches, from the adapter as it is when this runs. */
  updateNorms(scales: Value): void {
    for (const [name, { hasMagnitude, module }] of this.trained.targets) {
      if (!hasMagnitude) continue;
      const lora = this.trained.adapted(name, 0)[0]!;
      const valuesOf = (start: number, end: number) => ({
        lengths: this.frozen.lengths(name, start, end),
        scales,
        norm: this.trained.norm(name, start, end),
      });
      if (module.kind === "embedding") {
        updateTableNorms(this.graph, this.frozen.table(name), lora, valuesOf(0, module.outFeatures));
        continue;
      }
      for (const slice of this.frozen.weight(name).slices) {
        updateNorms(this.graph, slice, lora, valuesOf(slice.rowStart, slice.rowStart + slice.rows));
      }
    }
  }

  /** The output embedding: what turns hidden states into logits. */
  head(lora: LoraContext): Head {
    const { head } = modelNames(this.model.config);
    const trained = this.trained.whole(head, "weight");
    const weight = trained ? stackRows(head, [trained]) : this.frozen.weight(head);
    const stretches = this.trained.stretches(head, weight.slices);
    const replaced = this.trained.replaced(head);
    const projection = { weight, biases: [], adapted: this.trained.adapted(head, 0), stretches, replaced };
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
      const slices = this.frozen.matrix(run);
      values.push(...slices);
      stretches.push(...this.trained.stretches(run[0]!, stackRows(run[0]!, slices).slices));
      if (hasBias)
        biases.push(...(this.trained.biasSlices(run[0]!, slices) ?? this.frozen.biasSlices(run, slices)));
      run = [];
    };
    for (const name of names) {
      const { outFeatures } = this.model.module(name);
      adapted.push(...this.trained.adapted(name, row));
      row += outFeatures;
      const trained = this.trained.whole(name, "weight");
      if (trained) {
        flush();
        values.push(trained);
        stretches.push(undefined);
        if (hasBias) biases.push(this.vector(name, "bias"));
        continue;
      }
      if (run.length > 0 && !this.canJoin(run, name)) flush();
      run.push(name);
    }
    flush();
    return { weight: stackRows(names.join(" + "), values), biases, adapted, stretches };
  }

  private canJoin(run: readonly string[], name: string): boolean {
    const isApart = this.trained.isApart(run[0]!) || this.trained.isApart(name);
    return !isApart && this.frozen.canJoin(run, name);
  }

  /** A norm's gain, or a bias, [width] in f32. */
  private vector(name: string, parameter: string): Value {
    return this.trained.whole(name, parameter) ?? this.frozen.vector([name], parameter);
  }
}
