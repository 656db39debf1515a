import { epochOrder } from "./order.ts";

/** How rows are cut into optimizer steps, in TrainingArguments' words. */
export interface StepPlan {
  /** Above 0 it decides alone; otherwise `num_train_epochs` does. */
  readonly max_steps: number;
  readonly num_train_epochs: number;
  readonly per_device_train_batch_size: number;
  readonly gradient_accumulation_steps: number;
  readonly shuffle: boolean;
  readonly seed: number;
}

export interface OptimizerStep<Row> {
  /** Counted from 1. */
  readonly step: number;
  /** Counted from 0. */
  readonly epoch: number;
  /** At most `gradient_accumulation_steps`, each of at most `per_device_train_batch_size` rows; none is empty. */
  readonly microBatches: readonly (readonly Row[])[];
}

/** A short last micro-batch and a short last accumulation count as steps of their own. */
export function stepsPerEpoch(rows: number, plan: StepPlan): number {
  return Math.ceil(microBatchesPerEpoch(rows, plan) / plan.gradient_accumulation_steps);
}

export function totalSteps(rows: number, plan: StepPlan): number {
  if (plan.max_steps > 0) return plan.max_steps;
  return Math.ceil(plan.num_train_epochs * stepsPerEpoch(rows, plan));
}

/**
 * The optimizer steps of a run. Each epoch goes through all rows once and never shares a step with the next.
 * `firstStep` resumes a run: what came before is not walked through.
 */
export function* optimizerSteps<Row>(
  rows: readonly Row[],
  plan: StepPlan,
  firstStep = 1,
): Generator<OptimizerStep<Row>, void, void> {
  const perEpoch = stepsPerEpoch(rows.length, plan);
  const last = totalSteps(rows.length, plan);
  let order: Uint32Array | undefined;
  for (let step = firstStep; step <= last; step++) {
    const inEpoch = (step - 1) % perEpoch;
    const epoch = (step - 1 - inEpoch) / perEpoch;
    if (inEpoch === 0 || !order) order = epochOrder(rows.length, plan.shuffle, plan.seed, epoch);
    yield { step, epoch, microBatches: microBatchesOf(rows, order, plan, inEpoch) };
  }
}

function microBatchesOf<Row>(
  rows: readonly Row[],
  order: Uint32Array,
  plan: StepPlan,
  stepInEpoch: number,
): Row[][] {
  const { per_device_train_batch_size: size, gradient_accumulation_steps: accumulated } = plan;
  const first = stepInEpoch * accumulated;
  const end = Math.min(first + accumulated, microBatchesPerEpoch(rows.length, plan));
  const batches: Row[][] = [];
  for (let batch = first; batch < end; batch++) {
    batches.push(Array.from(order.subarray(batch * size, (batch + 1) * size), (row) => rows[row]!));
  }
  return batches;
}

function microBatchesPerEpoch(rows: number, plan: StepPlan): number {
  return Math.ceil(rows / plan.per_device_train_batch_size);
}
