/** A matrix as the products see it: row slices, usually one, each with its own storage. */
import { ShapeError } from "../base/errors.ts";
import type { WeightFormat } from "../gpu/kernels.ts";
import type { Value } from "../graph/value.ts";

export interface WeightSlice {
  /** The first row (output feature) of this slice. */
  readonly rowStart: number;
  readonly rows: number;
  /** [rows, width]; a frozen constant in f32, f16 or bf16, or a trainable parameter in f32. */
  readonly value: Value;
}

/** W [rows, width], in PyTorch's orientation: rows are output features. */
export interface Weight {
  readonly name: string;
  readonly rows: number;
  readonly width: number;
  readonly slices: readonly WeightSlice[];
}

/** Joins values, one below the other, into a weight. */
export function stackRows(name: string, values: readonly Value[]): Weight {
  let rows = 0;
  const [first] = values;
  const width = first?.shape[1];
  const slices = values.map((value) => {
    const [height, across] = value.shape;
    if (typeof height !== "number" || typeof across !== "number" || across !== width) {
      throw new ShapeError("shape", `${name}: ${value.name} is [${value.shape}], expected [rows, ${width}].`);
    }
    const slice = { rowStart: rows, rows: height, value };
    rows += height;
    return slice;
  });
  if (typeof width !== "number") throw new ShapeError("shape", `${name} has no slices.`);
  return { name, rows, width, slices };
}

/** Which file of shaders/weights/ decodes a slice. */
export function formatOf(slice: WeightSlice): WeightFormat {
  const { dtype, name } = slice.value;
  if (dtype === "f32" || dtype === "f16" || dtype === "bf16") return dtype;
  throw new ShapeError("weight-format", `${name} is stored as ${dtype}, which no kernel decodes.`);
}

/** Rows that stand in the place of some of a weight's own. */
export interface ReplacedRows {
  /** Which rows of the weight, all different: row i of the value takes the place of row indices[i]. */
  readonly indices: readonly number[];
  /** [indices, width] in f32. */
  readonly value: Value;
}

export function checkReplaced({ name, rows, width }: Weight, { indices, value }: ReplacedRows): void {
  const [count, across] = value.shape;
  const fits = count === indices.length && across === width && new Set(indices).size === count;
  if (fits && indices.every((index) => index < rows)) return;
  throw new ShapeError(
    "shape",
    `${name}: ${value.name} is [${value.shape}], expected a row of ${width} for each of ${indices.length} different rows below ${rows}.`,
  );
}
