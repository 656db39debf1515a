import { permutation } from "../base/random.ts";

/** Keeps the order of rows apart from everything else that the same seed draws. */
const ORDER_STREAM = 0x6f726472;

/** Row indices of an epoch (counted from 0): file order, or one that seed and epoch decide. */
export function epochOrder(rows: number, shuffle: boolean, seed: number, epoch: number): Uint32Array {
  if (!shuffle) return Uint32Array.from({ length: rows }, (_, i) => i);
  return permutation(rows, seed, (ORDER_STREAM + epoch) >>> 0);
}
