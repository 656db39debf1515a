import { transposed } from "./transposed.ts";

/** How GGUF calls the weights of a model that LoRA can adapt, and how it lays out their rows. */
export interface GgufNames {
  /** `general.architecture`: llama.cpp takes an adapter only onto a base of the same. */
  readonly architecture: string;
  /** The head's weight is the embedding's, and GGUF holds it once. */
  readonly tied: boolean;
  /** By the module's name in Transformers. */
  readonly weights: ReadonlyMap<string, GgufWeight>;
}

export interface GgufWeight {
  /** `blk.0.attn_q.weight` */
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Rows of A are looked up by token: GGUF has A as [in, r]. */
  readonly isEmbedding: boolean;
  /** Heads whose rows stand in another order in GGUF: the two numbers that rotate together side by side, not half a head apart. */
  readonly pairedHeads: number | undefined;
}

/** Shapes of A and B as GGUF has them. */
export function ggufShapes(weight: GgufWeight, r: number): { a: [number, number]; b: [number, number] } {
  const { inFeatures, outFeatures, isEmbedding } = weight;
  return { a: isEmbedding ? [inFeatures, r] : [r, inFeatures], b: [outFeatures, r] };
}

/** PEFT's A [r, in] as GGUF has it. */
export function toGgufA(values: Float32Array, weight: GgufWeight, r: number): Float32Array {
  return weight.isEmbedding ? transposed(values, r) : values;
}

export function fromGgufA(values: Float32Array, weight: GgufWeight): Float32Array {
  return weight.isEmbedding ? transposed(values, weight.inFeatures) : values;
}

/** PEFT's B [out, r] as GGUF has it: its rows go with those of the base's weight. */
export function toGgufB(values: Float32Array, weight: GgufWeight, r: number): Float32Array {
  return weight.pairedHeads === undefined ? values : pairRows(values, weight.pairedHeads, r);
}

export function fromGgufB(values: Float32Array, weight: GgufWeight, r: number): Float32Array {
  return weight.pairedHeads === undefined ? values : unpairRows(values, weight.pairedHeads, r);
}

/** Rows of q or k in llama.cpp's order, those of so many whole heads. */
export function pairRows(values: Float32Array, heads: number, width: number): Float32Array {
  return moved(values, heads, width, (row, place) => [row, place]);
}

/** And back. */
export function unpairRows(values: Float32Array, heads: number, width: number): Float32Array {
  return moved(values, heads, width, (row, place) => [place, row]);
}

/**
 * Transformers rotates number i of a head together with number i + half; llama.cpp rotates neighbours, and its
 * converter moves the rows of q and k so that they meet: row (head, side, i) → (head, i, side).
 * `ends` says from where to where, given the row and its place in GGUF.
 */
function moved(
  values: Float32Array,
  heads: number,
  width: number,
  ends: (row: number, place: number) => readonly [from: number, to: number],
): Float32Array {
  const rows = values.length / width;
  const half = rows / heads / 2;
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const [head, side, i] = [Math.floor(row / (2 * half)), Math.floor(row / half) % 2, row % half];
    const [from, to] = ends(row, head * 2 * half + 2 * i + side);
    result.set(values.subarray(from * width, (from + 1) * width), to * width);
  }
  return result;
}
