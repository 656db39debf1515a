/** Which token comes next, given the logits of all. Words and order are those of Transformers' GenerationConfig. */
import { philox, seedKey, uniform01 } from "../base/random.ts";

export interface Sampling {
  /** False takes the likeliest token, whatever the other settings say. */
  readonly do_sample: boolean;
  readonly temperature: number;
  /** Only so many of the likeliest; 0 for all. */
  readonly top_k: number;
  /** Only the likeliest that together reach this probability; 1 for all. */
  readonly top_p: number;
  /** Makes tokens of the prompt and of the answer less likely where above 1; 1 leaves them as they are. */
  readonly repetition_penalty: number;
  readonly seed: number;
}

export const GREEDY: Sampling = {
  ...{ do_sample: false, temperature: 1, top_k: 0, top_p: 1, repetition_penalty: 1, seed: 0 },
};

/** Changes the logits in place: s becomes s / penalty, or s · penalty where s < 0, once for each token of `seen`. */
export function penalise(logits: Float32Array, seen: ReadonlySet<number>, penalty: number): void {
  if (penalty === 1) return;
  for (const id of seen) {
    const score = logits[id]!;
    logits[id] = score < 0 ? score * penalty : score / penalty;
  }
}

/** `answer` and `position` tell this draw from every other of the same seed. */
export function sample(logits: Float32Array, sampling: Sampling, answer: number, position: number): number {
  if (!sampling.do_sample || sampling.temperature === 0) return likeliest(logits);
  const { temperature, top_k, top_p, seed } = sampling;
  // Ties go to the lower id, so that the order does not depend on the sort.
  let order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
  if (top_k > 0) order = order.slice(0, top_k);
  const highest = logits[order[0]!]!;
  const weights = order.map((id) => Math.exp((logits[id]! - highest) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let kept = order.length;
  if (top_p < 1) {
    let reached = 0;
    kept = weights.findIndex((weight) => {
      reached += weight / total;
      return reached >= top_p;
    });
    kept = kept < 0 ? order.length : kept + 1;
  }
  const sum = weights.slice(0, kept).reduce((all, weight) => all + weight, 0);
  let left = uniform01(philox(seedKey(seed), [position, answer, 0, 0])[0]!) * sum;
  for (let i = 0; i < kept; i++) {
    left -= weights[i]!;
    if (left < 0) return order[i]!;
  }
  return order[kept - 1]!;
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}
