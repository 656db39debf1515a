/** Float64 oracle of shaders/optimizer.wgsl. */
export interface AdamWState {
  parameters: Float64Array;
  firstMoment: Float64Array;
  secondMoment: Float64Array;
}

export interface AdamWStep {
  step: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  learningRate: number;
  weightDecay: number;
}

export function gradientNorm(gradients: readonly Float64Array[]): number {
  let squares = 0;
  for (const gradient of gradients) for (const g of gradient) squares += g * g;
  return Math.sqrt(squares);
}

/** As torch.nn.utils.clip_grad_norm_ has it; 0 does not clip. */
export function clipFactor(norm: number, maxNorm: number): number {
  return maxNorm === 0 ? 1 : Math.min(1, maxNorm / (norm + 1e-6));
}

/** One update, as torch.optim.AdamW does it. `gradient` is already clipped. */
export function adamw(state: AdamWState, gradient: Float64Array, settings: AdamWStep): AdamWState {
  const { step, beta1, beta2, epsilon, learningRate, weightDecay } = settings;
  const firstMoment = state.firstMoment.map((m, i) => beta1 * m + (1 - beta1) * gradient[i]!);
  const secondMoment = state.secondMoment.map((v, i) => beta2 * v + (1 - beta2) * gradient[i]! ** 2);
  const parameters = state.parameters.map((p, i) => {
    const mean = firstMoment[i]! / (1 - beta1 ** step);
    const variance = secondMoment[i]! / (1 - beta2 ** step);
    return p - learningRate * weightDecay * p - (learningRate * mean) / (Math.sqrt(variance) + epsilon);
  });
  return { parameters, firstMoment, secondMoment };
}

/** One parameter of two gradients: `twin` holds the moments of its second use, after its own AdamW, turned. */
export function tie(
  parameters: Float64Array,
  twin: Pick<AdamWState, "firstMoment" | "secondMoment">,
  [rows, columns]: readonly [number, number],
  { step, beta1, beta2, epsilon, learningRate, weightDecay }: AdamWStep,
): Float64Array {
  return parameters.map((p, i) => {
    const at = (i % columns) * rows + Math.floor(i / columns);
    const mean = twin.firstMoment[at]! / (1 - beta1 ** step);
    const variance = twin.secondMoment[at]! / (1 - beta2 ** step);
    return p - learningRate * weightDecay * p - (learningRate * mean) / (Math.sqrt(variance) + epsilon);
  });
}
