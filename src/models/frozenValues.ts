/** The base model's tensors as a graph's constants, where they do not train. */
import { BLOCK_BYTES } from "../gpu/device.ts";
import type { Graph } from "../graph/graph.ts";
import { bytesPerElement, type Value } from "../graph/value.ts";
import { rowNorms } from "../lora/rowNorms.ts";
import { stackRows, type Weight } from "../ops/weight.ts";
import type { FrozenWeights } from "./frozen.ts";
import type { Model } from "./model.ts";
import { rotaryTables } from "./rotary.ts";
import { modelNames } from "./skeleton.ts";

/** Rows of a slice: a vector beside it, one f32 a row, then begins where a binding may. */
function wholeBlocks(rows: number): number {
  const rowsOfBlock = BLOCK_BYTES / bytesPerElement.f32;
  return rows < rowsOfBlock ? rows : rows - (rows % rowsOfBlock);
}

export class FrozenValues {
  private readonly graph: Graph;
  private readonly model: Model;
  private readonly frozen: FrozenWeights;
  private readonly maxBinding: number;

  /** `maxBinding`: bytes that a binding may have; larger matrices are cut into slices. */
  constructor(options: { graph: Graph; model: Model; frozen: FrozenWeights; maxBinding: number }) {
    this.graph = options.graph;
    this.model = options.model;
    this.frozen = options.frozen;
    this.maxBinding = options.maxBinding;
  }

  /** A frozen module's own weight; a tied head's is the embedding's. */
  weight(name: string): Weight {
    const { head, embedding: table } = modelNames(this.model.config);
    return this.table(name === head && this.model.config.tied ? table : name);
  }

  /** A module's weight by its own name. */
  table(name: string): Weight {
    return stackRows(name, this.matrix([name]));
  }

  /** Frozen modules one below the other, as one constant, or several where it would pass a binding. */
  matrix(names: readonly string[]): Value[] {
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

  /** Norms' gains or biases one below the other, f32. */
  vector(names: readonly string[], parameter: string): Value {
    const tensors = names.map((name) => this.model.tensor(name, parameter));
    const length = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const key = names.map((name) => `${name}.${parameter}`).join(" + ");
    const value = this.graph.constant(key, [length], "f32");
    this.frozen.bind(key, value, 4 * length, { tensors, transposed: false, dtype: "f32" });
    return value;
  }

  /** A bias for each slice of a frozen matrix. */
  biasSlices(names: readonly string[], slices: readonly Value[]): Value[] {
    if (slices.length === 1) return [this.vector(names, "bias")];
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

  /** Norms of the rows [start, end) of a frozen matrix, or of features of an embedding. */
  lengths(name: string, start: number, end: number): Value {
    const lengths = this.graph.constant(`${name} lengths [${start}, ${end})`, [end - start], "f32");
    const compute = async () => rowNorms(await this.model.matrix(name)).subarray(start, end);
    this.frozen.bind(lengths.name, lengths, 4 * (end - start), { compute });
    return lengths;
  }

  /** Whether a module's weight can lie below these, in one buffer with them. */
  canJoin(run: readonly string[], name: string): boolean {
    const tensor = this.model.tensor(name, "weight");
    // What another graph keeps apart is not loaded again to be joined.
    if (this.frozen.liesApart(this.model.tensor(run.at(-1)!, "weight"), tensor)) return false;
    const dtype = this.frozen.typeOf(tensor);
    const { inFeatures: width } = this.model.module(name);
    const rows = [...run, name].reduce((sum, part) => sum + this.model.module(part).outFeatures, 0);
    const fits = rows * width * bytesPerElement[dtype] <= this.maxBinding;
    return fits && dtype === this.frozen.typeOf(this.model.tensor(run[0]!, "weight"));
  }

  /** Cosines and sines of the rotary embedding, f32 [positions, head dim / 2]; undefined for a model without one. */
  rotation(positions: number): { cos: Value; sin: Value } | undefined {
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
