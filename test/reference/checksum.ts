/** Oracle of shaders/checksum.wgsl: exact, so in whole numbers. */
const MODULUS = 1n << 32n;

function mix(word: bigint): bigint {
  let x = word;
  x = ((x ^ (x >> 16n)) * 0x7feb352dn) % MODULUS;
  x = ((x ^ (x >> 15n)) * 0x846ca68bn) % MODULUS;
  return x ^ (x >> 16n);
}

export function checksum(words: Uint32Array, before = 0): number {
  let sum = BigInt(before);
  words.forEach((word, i) => {
    sum += mix((BigInt(word) + mix(BigInt(i))) % MODULUS);
  });
  return Number(sum % MODULUS);
}
