import { ConfigError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { normalPair, philox, seedKey } from "../base/random.ts";
import { orthonormal } from "./orthonormal.ts";
import type { LoraTarget } from "./selection.ts";
import { transposed } from "./transposed.ts";

/** What LoRA adds to a module: A [r, in] and B [out, r], row-major, and B's bias [out] where it has one. */
export interface LoraStart {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly bias?: Float32Array;
}

/** "pissa_niter_16": as many rounds of subspace iteration. A thousand are more than anyone waits for. */
const ITERATED = /^pissa_niter_(\d{1,3})$/;

/** How often pissa is iterated from random vectors; undefined where it is not. */
export function iterationsOf(init: boolean | string): number | undefined {
  const found = ITERATED.exec(String(init));
  return found ? Number(found[1]) : undefined;
}

/** Whether A and B begin as a part of W, which counts as taken out of W: s·(B·A − B₀·A₀) is what they add. */
export function isFromBase(init: boolean | string): init is string {
  return init === "pissa" || init === "olora" || iterationsOf(init) !== undefined;
}

/** Keep these numbers apart from those of dropout and of the rows' order, which use the same seed. */
const STREAM = {
  ...{ a: 0x4c6f5241, b: 0x4c6f5242, bias: 0x4c6f5243 },
  ...{ rotation: 0x4c6f5251, sketch: 0x4c6f5253 },
};
type Stream = keyof typeof STREAM;

/**
 * The values that a new adapter starts from, PEFT's distributions by `init_lora_weights`:
 *
 *   true          A uniform in ±1/√in (Kaiming with a = √5), B zero
 *   "gaussian"    A normal with deviation 1/r, B zero
 *   false         A uniform in ±1/√in, B and its bias uniform in ±1/√r: the model does not start as the base model
 *   "orthogonal"  A and B normal in complementary halves of the r dimensions, so that B·A = 0
 *
 * An embedding starts with A zero and B normal, or with both normal for false. All depend on the seed and the module's name alone, so adapting one module more changes no other.
 */
export function initialStart(target: LoraTarget, init: boolean | string, seed: number): LoraStart {
  const { module, r, hasBias } = target;
  const { name, inFeatures, outFeatures } = module;
  const uniform = (stream: Stream, count: number, bound: number) =>
    // Half a step makes the numbers symmetric about zero.
    draw(seed, name, stream, count, (words) =>
      Array.from(words, (word) => bound * ((word + 0.5) * 2 ** -31 - 1)),
    );
  const normal = (stream: Stream, count: number, deviation: number) =>
    normals(seed, name, stream, count, deviation);
  const uniformA = () => uniform("a", r * inFeatures, 1 / Math.sqrt(inFeatures));
  const zeroB = () => new Float32Array(outFeatures * r);
  if (module.kind === "embedding") {
    const a = init === false ? normal("a", r * inFeatures, 1) : new Float32Array(r * inFeatures);
    return { a, b: normal("b", outFeatures * r, 1) };
  }
  switch (init) {
    case true:
      return { a: uniformA(), b: zeroB(), ...(hasBias ? { bias: new Float32Array(outFeatures) } : {}) };
    case "gaussian":
      return { a: normal("a", r * inFeatures, 1 / r), b: zeroB() };
    case false: {
      const bound = 1 / Math.sqrt(r);
      const b = uniform("b", outFeatures * r, bound);
      return { a: uniformA(), b, ...(hasBias ? { bias: uniform("bias", outFeatures, bound) } : {}) };
    }
    case "orthogonal": {
      const rotation = rotationOf(normal("rotation", r * r, 1), r);
      const mixA = normal("a", inFeatures * (r / 2), 0.1);
      const mixB = normal("b", outFeatures * (r / 2), 0.1);
      return {
        a: transposed(rotatedRows(mixA, rotation, r, 0), inFeatures),
        b: rotatedRows(mixB, rotation, r, 1),
      };
    }
    default:
      throw new ConfigError(
        "not-supported",
        `init_lora_weights is ${show(init)}, expected true, false, "gaussian" or "orthogonal".`,
      );
  }
}

/** Normal numbers of a stream, which depend on the seed and the module's name alone. */
export function normals(
  seed: number,
  name: string,
  stream: Stream,
  count: number,
  deviation: number,
): Float32Array {
  return draw(seed, name, stream, count, (words) =>
    [...normalPair(words[0]!, words[1]!), ...normalPair(words[2]!, words[3]!)].map((z) => deviation * z),
  );
}

/** `count` numbers, four of each counter of the stream. */
function draw(
  seed: number,
  name: string,
  stream: Stream,
  count: number,
  four: (words: Uint32Array) => number[],
): Float32Array {
  const key = seedKey(seed);
  const [hashLow, hashHigh] = nameHash(name);
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i += 4) {
    const words = philox(key, [i / 4, hashLow, hashHigh, STREAM[stream]]);
    const values = four(words);
    for (let j = 0; j < 4 && i + j < count; j++) numbers[i + j] = values[j]!;
  }
  return numbers;
}

/**
 * The rows of Q of X = Q·R, X [r, r] row-major. A column's sign follows from X, so Q is not drawn evenly from all
 * rotations, and neither is PEFT's.
 */
function rotationOf(x: Float32Array, r: number): Float64Array[] {
  const columns = Array.from({ length: r }, (_, j) =>
    Float64Array.from({ length: r }, (_, i) => x[i * r + j]!),
  );
  const q = orthonormal(columns);
  return Array.from({ length: r }, (_, i) => Float64Array.from(q, (column) => column[i]!));
}

/** [count, r]: each row of `mix` [count, r/2] times every second row of the rotation, from `first` on. */
function rotatedRows(
  mix: Float32Array,
  rotation: readonly Float64Array[],
  r: number,
  first: 0 | 1,
): Float32Array {
  const half = r / 2;
  const rows = new Float32Array(2 * mix.length);
  for (let row = 0; row < mix.length / half; row++) {
    for (let j = 0; j < r; j++) {
      let sum = 0;
      for (let i = 0; i < half; i++) sum += mix[row * half + i]! * rotation[2 * i + first]![j]!;
      rows[row * r + j] = sum;
    }
  }
  return rows;
}

/** FNV-1a over the name's UTF-16 units, in 64 bits. */
function nameHash(name: string): [low: number, high: number] {
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < name.length; i++) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(name.charCodeAt(i))) * 0x100000001b3n);
  }
  return [Number(hash & 0xffffffffn), Number(hash >> 32n)];
}
