/**
 * Float64 oracle of shaders/crossentropy.wgsl, head included. hidden [tokens, width], head [vocabulary, width];
 * target i is token `targetId[i]`, predicted from row `targetRow[i]` of hidden.
 */
export interface Targets {
  readonly width: number;
  readonly targetRow: Uint32Array;
  readonly targetId: Uint32Array;
}

function logitsOf(hidden: Float64Array, head: Float64Array, width: number, row: number): Float64Array {
  return Float64Array.from({ length: head.length / width }, (_, j) => {
    let sum = 0;
    for (let k = 0; k < width; k++) sum += hidden[row * width + k]! * head[j * width + k]!;
    return sum;
  });
}

/** How far each other logit lies above the target's, as powers of e: Σ_{j≠t} exp(z_j − z_t). */
function against(logits: Float64Array, target: number): number {
  return logits.reduce((sum, z, j) => (j === target ? sum : sum + Math.exp(z - logits[target]!)), 0);
}

/** Nats of each target. */
export function forward(hidden: Float64Array, head: Float64Array, targets: Targets): Float64Array {
  const { width, targetRow, targetId } = targets;
  return Float64Array.from(targetId, (target, i) => {
    const logits = logitsOf(hidden, head, width, targetRow[i]!);
    return Math.log1p(against(logits, target));
  });
}

/** Of each target: nats of entropy of all that is foretold, and whether the target is the likeliest (1) or not (0). */
export function certainty(
  hidden: Float64Array,
  head: Float64Array,
  targets: Targets,
): { entropy: Float64Array; right: Float64Array } {
  const { width, targetRow, targetId } = targets;
  const rows = [...targetRow].map((row) => logitsOf(hidden, head, width, row));
  const entropy = rows.map((logits) => {
    const likeliest = logits.reduce((best, z, j) => (z > logits[best]! ? j : best), 0);
    const others = against(logits, likeliest);
    // −ln p_j = (m − z_j) + ln(1 + Σ_{i≠likeliest} exp(z_i − m)), weighed with p_j.
    const distance = (z: number): number => logits[likeliest]! - z;
    const mean = logits.reduce((sum, z) => sum + Math.exp(-distance(z)) * distance(z), 0) / (1 + others);
    return mean + Math.log1p(others);
  });
  const right = rows.map((logits, i) => (logits.every((z) => z <= logits[targetId[i]!]!) ? 1 : 0));
  return { entropy: Float64Array.from(entropy), right: Float64Array.from(right) };
}

/** Gradients of `scale` times the sum of nats. */
export function backward(
  hidden: Float64Array,
  head: Float64Array,
  targets: Targets,
  scale: number,
): { dhidden: Float64Array; dhead: Float64Array } {
  const { width, targetRow, targetId } = targets;
  const dhidden = new Float64Array(hidden.length);
  const dhead = new Float64Array(head.length);
  targetId.forEach((target, i) => {
    const row = targetRow[i]!;
    const logits = logitsOf(hidden, head, width, row);
    const others = against(logits, target);
    logits.forEach((z, j) => {
      const odds = j === target ? -others : Math.exp(z - logits[target]!);
      const d = (scale * odds) / (1 + others);
      for (let k = 0; k < width; k++) {
        dhidden[row * width + k]! += d * head[j * width + k]!;
        dhead[j * width + k]! += d * hidden[row * width + k]!;
      }
    });
  });
  return { dhidden, dhead };
}
