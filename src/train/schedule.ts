import type { TrainConfig } from "./fields.ts";

type ScheduleConfig = Pick<TrainConfig, "lr_scheduler_type" | "warmup_steps" | "warmup_ratio">;

/** Steps of linear warm-up in a run of `totalSteps`: a count, or a share rounded up, as in Transformers. */
export function warmupSteps(config: ScheduleConfig, totalSteps: number): number {
  if (config.warmup_steps >= 1) return Math.trunc(config.warmup_steps);
  if (config.warmup_steps > 0) return Math.ceil(totalSteps * config.warmup_steps);
  return Math.ceil(totalSteps * (config.warmup_ratio ?? 0));
}

/**
 * What the optimizer step `step0` (counted from 0) uses of every group's learning rate, as Transformers'
 * get_scheduler gives it: a warm-up from zero uses 0 in its first step, and a decay to zero would reach it one
 * step after the last.
 */
export function scheduleFactor(step0: number, config: ScheduleConfig, totalSteps: number): number {
  // Transformers' `constant` takes no warm-up; `constant_with_warmup` does.
  if (config.lr_scheduler_type === "constant") return 1;
  const warmup = warmupSteps(config, totalSteps);
  if (step0 < warmup) return step0 / Math.max(1, warmup);
  const decaySteps = Math.max(1, totalSteps - warmup);
  switch (config.lr_scheduler_type) {
    case "constant_with_warmup":
      return 1;
    case "linear":
      return Math.max(0, (totalSteps - step0) / decaySteps);
    case "cosine":
      return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((step0 - warmup) / decaySteps))));
    default:
      return config.lr_scheduler_type satisfies never;
  }
}

/** Optimizer steps of a run: max_steps where it is above 0, otherwise epochs × steps per epoch, rounded up. */
export function totalSteps(
  config: Pick<TrainConfig, "max_steps" | "num_train_epochs">,
  stepsPerEpoch: number,
): number {
  return config.max_steps > 0 ? config.max_steps : Math.ceil(config.num_train_epochs * stepsPerEpoch);
}

/** Steps between two looks at the model: below 1 `every` is a share of all `steps`, and null is all of them. */
export function interval(every: number | null, steps: number): number {
  if (every === null) return steps;
  return every < 1 ? Math.ceil(steps * every) : every;
}
