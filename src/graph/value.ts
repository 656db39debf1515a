/** What a traced program is made of: extents, values, and the nodes that produce them. */
import type { BufferRange, DeviceTraits } from "../gpu/device.ts";
import type { KernelSpec } from "../gpu/kernels.ts";

/** How many tokens and trained rows the micro-batch at hand holds. */
export interface Counts {
  tokens: number;
  targets: number;
}

/**
 * A dimension whose size changes from micro-batch to micro-batch. Buffers are made for `max`; `live` says how
 * many there are now. Kernels read the live size as `extent(index)`.
 */
export interface Extent {
  readonly index: number;
  readonly name: string;
  readonly max: number;
  readonly live: (counts: Counts) => number;
}

export type Dim = number | Extent;

export function maxOf(dim: Dim): number {
  return typeof dim === "number" ? dim : dim.max;
}

export type ValueType = "f32" | "u32" | "i32" | "f16" | "bf16";

/** The columns of a value's last dimension that an operation looks at. */
export interface Columns {
  readonly start: number;
  readonly width: number;
}

/**
 * - `input`: written by the host before each micro-batch
 * - `constant`: frozen, lives outside the plan (weights, tables)
 * - `parameter`, `gradient`: trainable, live in the arenas
 * - `state`: lives across steps and is updated in place
 * - `computed`: made by a node, lives as long as somebody reads it
 */
export type ValueKind = "input" | "constant" | "parameter" | "gradient" | "state" | "computed";

/** A tensor's place in an arena: parameters, gradients and both moments share one layout. */
export interface ArenaPlace {
  readonly chunk: number;
  readonly byteOffset: number;
}

export interface Value {
  readonly id: number;
  readonly name: string;
  readonly shape: readonly Dim[];
  readonly dtype: ValueType;
  readonly kind: ValueKind;
  readonly requiresGrad: boolean;
  /** The node that makes a computed value. */
  readonly producer?: Node | undefined;
  /** Where a value that lives outside the plan lies; set before the plan is made real. */
  storage?: BufferRange | undefined;
  /** The gradient of a parameter: same shape, added to by backward nodes. */
  readonly gradient?: Value | undefined;
  /** Where a parameter or gradient lies in its arena. */
  readonly place?: ArenaPlace | undefined;
}

export const bytesPerElement: Record<ValueType, number> = { f32: 4, u32: 4, i32: 4, f16: 2, bf16: 2 };

/** Elements at the largest size. */
export function maxElements(shape: readonly Dim[]): number {
  return shape.reduce<number>((product, dim) => product * maxOf(dim), 1);
}

export function maxBytes(value: Pick<Value, "shape" | "dtype">): number {
  return maxElements(value.shape) * bytesPerElement[value.dtype];
}

/** The whole buffer in which a value lies: for kernels that reach several tensors of an arena by offset. */
export interface WholeBuffer {
  readonly whole: Value;
}

/** Numbers that are fixed when the plan is made, such as where in an arena each row of a kernel's operand lies. */
export interface Table {
  readonly table: Uint32Array;
}

export type Operand = Value | WholeBuffer | Table | undefined;

/** One launch of a kernel. `params` are the fields of the shader's `struct Params`. */
export interface Dispatch {
  readonly kernel: KernelSpec;
  readonly params: Readonly<Record<string, number>>;
  /** By the names that the bindings have in WGSL. An optional operand may be undefined. */
  readonly bindings: Readonly<Record<string, Operand>>;
  /** Workgroups for the sizes at hand, in one dimension; zero skips the launch. */
  readonly workgroups: (size: (dim: Dim) => number) => number;
}

/** An operation's passes: how it becomes kernel launches, and what its backward adds to the trace. */
export interface Op<Attributes> {
  readonly name: string;
  lower(node: Node<Attributes>, traits: DeviceTraits): Dispatch[];
  /** Absent where no gradient passes. */
  readonly backward?: (node: Node<Attributes>, context: BackwardContext) => void;
}

export interface Node<Attributes = unknown> {
  readonly op: Op<Attributes>;
  readonly attributes: Attributes;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
  /** Values outside the plan (gradients, state) that this node changes. */
  readonly mutates: readonly Value[];
  /** `inPlace[o] = i`: output o takes over the buffer of input i. */
  readonly inPlace: ReadonlyMap<number, number>;
  /** The block (transformer layer) whose activations can be recomputed, or undefined. */
  readonly block: number | undefined;
}

/** What an operation's backward works with. */
export interface BackwardContext {
  /** The gradient of output `index`, or undefined where none arrives. */
  outputGradient(index?: number): Value | undefined;
  /** Whether a gradient is wanted for input `index`. */
  wants(index: number): boolean;
  /**
   * Contributes to the gradient of input `index`. `make` is given what has been contributed so far (or undefined)
   * and returns the sum; a kernel that can add to it on the way saves a pass. Not called where none is wanted.
   */
  give(index: number, make: (soFar: Value | undefined) => Value): void;
  /** The arena gradient of a trainable input, for a node that adds to it. */
  gradientOf(index: number): Value;
}
