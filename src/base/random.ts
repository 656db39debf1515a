/**
 * Random numbers without a state: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"). Each
 * (key, counter) gives four 32-bit words, in any order and on any machine the same.
 */
export function philox(
  key: readonly [number, number],
  counter: readonly [number, number, number, number],
): Uint32Array {
  let [k0, k1] = [key[0] >>> 0, key[1] >>> 0];
  let [c0, c1, c2, c3] = [counter[0] >>> 0, counter[1] >>> 0, counter[2] >>> 0, counter[3] >>> 0];
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0);
    const high1 = mulHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1 >>> 0, (high0 ^ c3 ^ k1) >>> 0, low0 >>> 0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return Uint32Array.of(c0, c1, c2, c3);
}

/** From [0, 1), a multiple of 2^-24: exact in f32, so host and kernels agree. */
export function uniform01(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

/** Two independent standard normal numbers (Box-Muller, in float64). */
export function normalPair(first: number, second: number): [number, number] {
  // Shifted half a step from zero: the logarithm must stay finite.
  const radius = Math.sqrt(-2 * Math.log(((first >>> 0) + 0.5) * 2 ** -32));
  const angle = 2 * Math.PI * (second >>> 0) * 2 ** -32;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

/** The key that a seed stands for: any whole number up to 2^53, its halves. */
export function seedKey(seed: number): [number, number] {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/** 0 … count − 1 in an order that (seed, stream) decides (Fisher-Yates). */
export function permutation(count: number, seed: number, stream: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const key = seedKey(seed);
  for (let last = count - 1; last > 0; last--) {
    const words = philox(key, [last, stream, 0, 0]);
    // 53 bits: the bias of the multiplication is below 2^-21 of a part in four thousand million.
    const chosen = Math.floor(((words[0]! >>> 5) * 2 ** 26 + (words[1]! >>> 6)) * 2 ** -53 * (last + 1));
    const moved = order[last]!;
    order[last] = order[chosen]!;
    order[chosen] = moved;
  }
  return order;
}

/** The upper 32 bits of a product of two 32-bit numbers, by 16-bit parts. */
function mulHigh(a: number, b: number): number {
  const aHigh = a >>> 16;
  const aLow = a & 0xffff;
  const bHigh = b >>> 16;
  const bLow = b & 0xffff;
  // Every sum stays below 2^53, so plain numbers hold it.
  const middle = aHigh * bLow + Math.floor((aLow * bLow) / 65536);
  const carried = (middle % 65536) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carried / 65536)) >>> 0;
}
