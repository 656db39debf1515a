import { type Factors, norms } from "./dora.ts";

/**
 * Float64 oracle of shaders/dora_embedding.wgsl: the norm of each feature of a table, W [count, width], changed by
 * s·(B·A)ᵀ, A [rank, count] and B [width, rank]; or of the table alone. The features are the rows of Wᵀ.
 */
export function tableNorms(
  table: Float64Array,
  factors: Factors | undefined,
  { count, width }: { readonly count: number; readonly width: number },
): Float64Array {
  const turned = table.map((_, i) => table[(i % count) * width + Math.floor(i / count)]!);
  return norms(turned, factors, { width: count, out: width });
}
