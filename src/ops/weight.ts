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
