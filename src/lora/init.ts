import { ConfigError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { normalPair, philox, seedKey } from "../base/random.ts";
import type { LoraTarget } from "./targets.ts";

/** The two halves of an adapter: A [r, in] and B [out, r], row-major. */
export interface LoraHalves {
  readonly a: Float32Array;
  readonly b: Float32Array;
}

/** Keeps these numbers apart from those of dropout and of the rows' order, which use the same seed. */
const STREAM = 0x4c6f5241;

/**
 * The values that a new adapter starts from, PEFT's distributions: A uniform in ±1/√in (Kaiming with a = √5),
 * or normal with deviation 1/r for "gaussian"; B zero. They depend on the seed and the module's name alone, so
 * adapting one module more changes no other.
 */
export function initialHalves(target: LoraTarget, init: boolean | string, seed: number): LoraHalves {
  if (init !== true && init !== "gaussian") {
    throw new ConfigError(
      "not-supported",
      `init_lora_weights is ${show(init)}, expected true or "gaussian".`,
    );
  }
  const { module, r } = target;
  const a = new Float32Array(r * module.inFeatures);
  const b = new Float32Array(module.outFeatures * r);
  const key = seedKey(seed);
  const [hashLow, hashHigh] = nameHash(module.name);
  const bound = 1 / Math.sqrt(module.inFeatures);
  for (let i = 0; i < a.length; i += 4) {
    const words = philox(key, [i / 4, hashLow, hashHigh, STREAM]);
    for (let j = 0; j < 4 && i + j < a.length; j++) {
      const word = words[j]!;
      // Half a step makes the uniform numbers symmetric about zero; normal ones come in pairs from two words.
      if (init === true) a[i + j] = bound * ((word + 0.5) * 2 ** -31 - 1);
      else a[i + j] = normalPair(words[j & 2]!, words[j | 1]!)[j & 1]! / r;
    }
  }
  return { a, b };
}

/** FNV-1a over the name's UTF-16 units, in 64 bits. */
function nameHash(name: string): [low: number, high: number] {
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < name.length; i++) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(name.charCodeAt(i))) * 0x100000001b3n);
  }
  return [Number(hash & 0xffffffffn), Number(hash >> 32n)];
}
