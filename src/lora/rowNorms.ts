import { ConfigError } from "../base/errors.ts";

/** A frozen matrix as its checkpoint stores it, row by row: W [out, in], or [in, out] where it is turned. */
export interface StoredMatrix {
  readonly name: string;
  readonly values: Float32Array;
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly turned: boolean;
}

/** s·B·A beside W: A [r, in], B [out, r]. */
export interface LowRankChange {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly scale: number;
}

/**
 * The norm of each row of W + s·B·A [out], summed in float64, or of W alone. Throws ConfigError where a row is zero:
 * DoRA divides by it, and PEFT's training would be NaN from the first step.
 */
export function rowNorms(
  { name, values, outFeatures, inFeatures, turned }: StoredMatrix,
  change?: LowRankChange,
): Float32Array {
  const norms = new Float32Array(outFeatures);
  const row = new Float64Array(inFeatures);
  const rank = change ? change.a.length / inFeatures : 0;
  for (let o = 0; o < outFeatures; o++) {
    for (let k = 0; k < inFeatures; k++) row[k] = values[turned ? k * outFeatures + o : o * inFeatures + k]!;
    for (let j = 0; j < rank; j++) {
      const factor = change!.scale * change!.b[o * rank + j]!;
      if (factor === 0) continue;
      for (let k = 0; k < inFeatures; k++) row[k]! += factor * change!.a[j * inFeatures + k]!;
    }
    let squares = 0;
    for (let k = 0; k < inFeatures; k++) squares += row[k]! * row[k]!;
    norms[o] = Math.sqrt(squares);
    if (norms[o] === 0) {
      throw new ConfigError(
        "zero-row",
        `use_dora: row ${o} of ${name} is zero, and DoRA divides by its norm.`,
        "Leave the module out of target_modules, or train it without use_dora.",
      );
    }
  }
  return norms;
}
