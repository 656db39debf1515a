/** Records a program as it is traced. A model is a plain function over `Value`s; calling it fills a Graph. */
import { GraftError, ShapeError } from "../base/errors.ts";
import type { ArenaPlace, Counts, Dim, Extent, Node, Op, Value, ValueType } from "./value.ts";

/** As many extents as `live` in shaders/common/live.wgsl has room for. */
const MAX_EXTENTS = 256;

export interface OutputSpec {
  readonly name: string;
  readonly shape: readonly Dim[];
  readonly dtype?: ValueType;
  /** Takes over the buffer of this input. Where that input is still needed the plan copies it first. */
  readonly inPlaceOf?: number;
}

export interface RecordOptions {
  readonly mutates?: readonly Value[];
  /** Whether the outputs require a gradient, where the tracer takes it by itself instead of by the op's backward. */
  readonly requiresGrad?: boolean;
}

export class Graph {
  readonly nodes: Node[] = [];
  readonly extents: Extent[] = [];
  readonly values: Value[] = [];
  /** Values that stay readable after the micro-batch, by name. */
  readonly kept = new Map<string, Value>();
  readonly tokens: Extent;
  readonly targets: Extent;
  private block: number | undefined;

  /** `maxTokens`, `maxTargets`: the largest micro-batch of this run. */
  constructor(maxTokens: number, maxTargets: number) {
    this.tokens = this.extent("tokens", maxTokens, (counts) => counts.tokens);
    this.targets = this.extent("targets", maxTargets, (counts) => counts.targets);
  }

  extent(name: string, max: number, live: (counts: Counts) => number): Extent {
    if (this.extents.length === MAX_EXTENTS) {
      throw new GraftError(
        "too-many-extents",
        `The plan needs more than ${MAX_EXTENTS} extents.`,
        "Use a smaller batch size.",
      );
    }
    const extent: Extent = { index: this.extents.length, name, max, live };
    this.extents.push(extent);
    return extent;
  }

  /** The extent of a dimension, making one for a plain number, so that a kernel reads every row count alike. */
  extentOf(dim: Dim): Extent {
    if (typeof dim !== "number") return dim;
    return this.extents.find((extent) => extent.name === `=${dim}`) ?? this.extent(`=${dim}`, dim, () => dim);
  }

  /** Written by the host before each micro-batch. One that requires a gradient is for looking at an op alone. */
  input(name: string, shape: readonly Dim[], dtype: ValueType, requiresGrad = false): Value {
    return this.value({ name, shape, dtype, kind: "input", requiresGrad });
  }

  constant(name: string, shape: readonly Dim[], dtype: ValueType): Value {
    return this.value({ name, shape, dtype, kind: "constant", requiresGrad: false });
  }

  state(name: string, shape: readonly Dim[], dtype: ValueType = "f32"): Value {
    return this.value({ name, shape, dtype, kind: "state", requiresGrad: false });
  }

  /** A trainable f32 tensor at its place in the arenas. Where the graph has no backward (evaluation), the tensor alone. */
  parameter(name: string, shape: readonly number[], place: ArenaPlace, trained = true): Value {
    const fields = { shape, dtype: "f32", place } as const;
    if (!trained) return this.value({ ...fields, name, kind: "parameter", requiresGrad: false });
    const gradient = this.value({ ...fields, name: `d ${name}`, kind: "gradient", requiresGrad: false });
    return this.value({ ...fields, name, kind: "parameter", requiresGrad: true, gradient });
  }

  /** Appends a node. Its outputs require a gradient where an input does and the op passes one on. */
  record<Attributes>(
    op: Op<Attributes>,
    attributes: Attributes,
    inputs: readonly (Value | undefined)[],
    outputs: readonly OutputSpec[],
    options: RecordOptions = {},
  ): Value[] {
    const requiresGrad =
      options.requiresGrad ?? (op.backward !== undefined && inputs.some((input) => input?.requiresGrad));
    const made: Value[] = [];
    const inPlace = new Map<number, number>();
    const node: Node<Attributes> = {
      op,
      attributes,
      inputs,
      outputs: made,
      mutates: options.mutates ?? [],
      inPlace,
      block: this.block,
    };
    outputs.forEach((spec, index) => {
      if (spec.inPlaceOf !== undefined) inPlace.set(index, spec.inPlaceOf);
      made.push(
        this.value({
          name: spec.name,
          shape: spec.shape,
          dtype: spec.dtype ?? "f32",
          kind: "computed",
          requiresGrad,
          producer: node as Node,
        }),
      );
    });
    this.nodes.push(node as Node);
    return made;
  }

  /** Marks what `trace` records as one block, whose activations can be recomputed in the backward. */
  inBlock<T>(index: number, trace: () => T): T {
    const outer = this.block;
    this.block = index;
    try {
      return trace();
    } finally {
      this.block = outer;
    }
  }

  /** Keeps a value readable after the micro-batch. */
  keep(name: string, value: Value): void {
    this.kept.set(name, value);
  }

  private value(fields: Omit<Value, "id">): Value {
    const value: Value = { ...fields, id: this.values.length };
    this.values.push(value);
    return value;
  }
}

/** The last dimension, which must be a plain number. */
export function widthOf(value: Value): number {
  const width = value.shape[value.shape.length - 1];
  if (typeof width !== "number")
    throw new ShapeError("shape", `${value.name}: its width is not a fixed number.`);
  return width;
}

/** All dimensions but the last, as one: tokens, rows of a chunk, or a plain number. */
export function rowsOf(value: Value): Dim {
  const [rows] = value.shape;
  if (rows === undefined || value.shape.length !== 2) {
    throw new ShapeError(
      "shape",
      `${value.name} has ${value.shape.length} dimensions, expected [rows, width].`,
    );
  }
  return rows;
}
