/** Float64 oracle of shaders/headnorm.wgsl: RMSNorm's oracle, head by head. */
import * as rmsnorm from "./rmsnorm.ts";

export interface HeadNormShape {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
}

/** x [rows, (heads + 2 · keyValueHeads) · headDim], gains [headDim] → y like x. */
export function forward(
  x: Float64Array,
  gainQ: Float64Array,
  gainK: Float64Array,
  shape: HeadNormShape,
  eps: number,
): Float64Array {
  const y = Float64Array.from(x);
  for (const { start, end, kind } of headsOf(x, shape)) {
    if (kind === "v") continue;
    y.set(rmsnorm.forward(x.subarray(start, end), kind === "q" ? gainQ : gainK, eps).y, start);
  }
  return y;
}

export function backward(
  x: Float64Array,
  gainQ: Float64Array,
  gainK: Float64Array,
  shape: HeadNormShape,
  eps: number,
  dy: Float64Array,
): { dx: Float64Array; dgainQ: Float64Array; dgainK: Float64Array } {
  const dx = Float64Array.from(dy);
  const dgainQ = new Float64Array(shape.headDim);
  const dgainK = new Float64Array(shape.headDim);
  for (const { start, end, kind } of headsOf(x, shape)) {
    if (kind === "v") continue;
    const gain = kind === "q" ? gainQ : gainK;
    const head = rmsnorm.backward(x.subarray(start, end), gain, eps, dy.subarray(start, end));
    dx.set(head.dx, start);
    const dgain = kind === "q" ? dgainQ : dgainK;
    head.dgain.forEach((value, i) => {
      dgain[i]! += value;
    });
  }
  return { dx, dgainQ, dgainK };
}

/** Where each head of each row lies. */
function headsOf(
  x: Float64Array,
  { heads, keyValueHeads, headDim }: HeadNormShape,
): { start: number; end: number; kind: "q" | "k" | "v" }[] {
  const perRow = heads + 2 * keyValueHeads;
  return Array.from({ length: x.length / headDim }, (_, unit) => {
    const head = unit % perRow;
    const kind = head < heads ? "q" : head < heads + keyValueHeads ? "k" : "v";
    return { start: unit * headDim, end: (unit + 1) * headDim, kind };
  });
}
