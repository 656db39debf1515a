/** Oracle of shaders/dropout.wgsl: float64, but the masks are the kernel's to the bit. */
import { philox } from "../../src/base/random.ts";

export interface DropoutDraw {
  readonly p: number;
  readonly seed: number;
  readonly step: number;
  readonly module: number;
  /** By token: the row of the optimizer step, and the position in it. */
  readonly rowInStep: Uint32Array;
  readonly positions: Uint32Array;
}

/** 1 where kept, 0 where dropped; [tokens, width]. */
export function mask(draw: DropoutDraw, width: number): Float64Array {
  const kept = new Float64Array(draw.positions.length * width);
  draw.positions.forEach((position, token) => {
    for (let feature = 0; feature < width; feature++) {
      const counter = [feature >> 2, position, draw.rowInStep[token]!, draw.step] as const;
      const word = philox([draw.seed, draw.module], counter)[feature & 3]!;
      kept[token * width + feature] = word >= draw.p * 2 ** 32 ? 1 : 0;
    }
  });
  return kept;
}

export function forward(x: Float64Array, draw: DropoutDraw, width: number): Float64Array {
  const kept = mask(draw, width);
  return x.map((value, i) => (value * kept[i]!) / (1 - draw.p));
}

export function backward(dy: Float64Array, draw: DropoutDraw, width: number): Float64Array {
  return forward(dy, draw, width);
}
