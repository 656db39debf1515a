/** Rotary position embedding: the base of the frequencies, and how they are stretched for long contexts. */
export type Rotary =
  | { readonly type: "default"; readonly theta: number }
  | { readonly type: "linear"; readonly theta: number; readonly factor: number }
  | {
      readonly type: "llama3";
      readonly theta: number;
      readonly factor: number;
      readonly low: number;
      readonly high: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: "yarn";
      readonly theta: number;
      readonly factor: number;
      /** Multiplies cos and sin. */
      readonly attentionFactor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly originalMaxPositions: number;
      readonly truncate: boolean;
    };

const f32 = Math.fround;

/**
 * cos and sin of every position's angles, both [positions, headDim / 2]. Feature i of a head's first half turns with
 * feature i of its second half.
 *
 * Each step rounds to f32 where Transformers on PyTorch does. The angle of position 1000 in exact arithmetic differs
 * from the f32 one by up to 5e-5, so "more exact" would be further from the model that was trained.
 */
export function rotaryTables(
  rotary: Rotary,
  headDim: number,
  positions: number,
): { cos: Float32Array; sin: Float32Array } {
  const half = headDim / 2;
  const frequencies = inverseFrequencies(rotary, headDim);
  const scale = f32(rotary.type === "yarn" ? rotary.attentionFactor : 1);
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let position = 0, at = 0; position < positions; position++) {
    for (let i = 0; i < half; i++, at++) {
      const angle = f32(position * frequencies[i]!);
      cos[at] = f32(Math.cos(angle)) * scale;
      sin[at] = f32(Math.sin(angle)) * scale;
    }
  }
  return { cos, sin };
}

/** Radians per position, [headDim / 2]. */
export function inverseFrequencies(rotary: Rotary, headDim: number): Float32Array {
  const plain = Float32Array.from(
    { length: headDim / 2 },
    (_, i) => 1 / torchPow(rotary.theta, f32((2 * i) / headDim)),
  );
  switch (rotary.type) {
    case "default":
      return plain;
    case "linear": {
      const factor = f32(rotary.factor);
      return plain.map((frequency) => frequency / factor);
    }
    case "llama3":
      return plain.map((frequency) => stretchLlama3(frequency, rotary));
    case "yarn":
      return stretchYarn(plain, headDim, rotary);
    default:
      return rotary satisfies never;
  }
}

type Llama3 = Extract<Rotary, { type: "llama3" }>;
type Yarn = Extract<Rotary, { type: "yarn" }>;

/** Short waves stay, waves longer than the old context are slowed by `factor`, those between are blended. */
function stretchLlama3(frequency: number, { factor, low, high, originalMaxPositions }: Llama3): number {
  // PyTorch computes `number / tensor` as the tensor's reciprocal times the number, each rounded.
  const wavelength = f32(f32(1 / frequency) * f32(2 * Math.PI));
  const slowed = f32(frequency / f32(factor));
  if (wavelength > f32(originalMaxPositions / low)) return slowed;
  if (wavelength < f32(originalMaxPositions / high)) return frequency;
  const waves = f32(f32(1 / wavelength) * f32(originalMaxPositions));
  const smooth = f32(f32(waves - f32(low)) / f32(high - low));
  const blended = f32(f32(f32(1 - smooth) * frequency) / f32(factor));
  return f32(blended + f32(smooth * frequency));
}

/** Features that turn often within the old context stay, those that never complete a turn are slowed. */
function stretchYarn(plain: Float32Array, headDim: number, yarn: Yarn): Float32Array {
  const { theta, factor, originalMaxPositions, truncate } = yarn;
  const featureOfTurns = (turns: number) =>
    (headDim * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  let first = featureOfTurns(yarn.betaFast);
  let last = featureOfTurns(yarn.betaSlow);
  if (truncate) {
    first = Math.floor(first);
    last = Math.ceil(last);
  }
  first = Math.max(first, 0);
  last = Math.min(last, headDim - 1);
  if (first === last) last += 0.001;
  return plain.map((kept, i) => {
    const ramp = f32(f32(i - f32(first)) / f32(last - first));
    const keep = f32(1 - Math.min(Math.max(ramp, 0), 1));
    const period = torchPow(theta, f32((2 * i) / headDim));
    const slowed = f32(1 / f32(f32(factor) * period));
    return f32(f32(slowed * f32(1 - keep)) + f32(kept * keep));
  });
}

const LOG_TERMS = [0.24032035, 0.28511268, 0.400008].map(f32);
const LOG_LAST = f32(0.6666666) + f32(3.6918386e-9);
const EXP_TERMS = [0.0013632465, 0.008365969, 0.041671082, 0.16666552, 0.49999985].map(f32);

/**
 * base^exponent in f32 as PyTorch's CPU kernels give it: the polynomials of SLEEF's `powf` (1 ulp). The correctly
 * rounded power differs from it in one of a hundred frequencies, and one ulp of a frequency is 1e-4 of angle at
 * position 2000. Of 3120 tabulated values this gives all but 3, which are off by one ulp.
 */
export function torchPow(base: number, exponent: number): number {
  const x = f32(base);
  const binary = Math.floor(Math.log2(x / 0.75));
  const mantissa = x / 2 ** binary;
  const z = (mantissa - 1) / (mantissa + 1);
  const zSquared = f32(z * z);
  const logTail = LOG_TERMS.reduce((sum, term) => f32(sum * zSquared + term), 0);
  const log = Math.LN2 * binary + 2 * z + z ** 3 * (z * z * logTail + LOG_LAST);
  const scaled = log * exponent;
  const doublings = Math.round(f32(scaled) / Math.LN2);
  const rest = scaled - doublings * Math.LN2;
  const restSingle = f32(rest);
  const expTail = EXP_TERMS.reduce((sum, term) => f32(sum * restSingle + term), 0);
  return f32((1 + rest + rest * rest * expTail) * 2 ** doublings);
}
