/** Which evaluation is the best so far, and whether the run should end, as Transformers decides it. */
import type { EvaluationReport } from "./reports.ts";

export const BEST_METRICS = [
  "loss",
  "eval_loss",
  "entropy",
  "eval_entropy",
  "mean_token_accuracy",
  "eval_mean_token_accuracy",
] as const;

/** What of an evaluation is compared. */
type Metric = Exclude<keyof EvaluationReport, "step" | "elapsed_ms">;

/** In the words of TrainingArguments and of EarlyStoppingCallback. */
export interface BestSettings {
  readonly metric_for_best_model: (typeof BEST_METRICS)[number] | null;
  readonly greater_is_better: boolean | null;
  readonly early_stopping_patience: number | null;
  readonly early_stopping_threshold: number;
}

export interface Best {
  readonly step: number;
  readonly metric: Metric;
  readonly value: number;
}

export class BestSoFar {
  private readonly metric: Metric;
  private readonly greater: boolean;
  private readonly patience: number;
  private readonly threshold: number;
  private best: Best | undefined;
  private bestValue: number | undefined;
  private evaluationsWithout = 0;

  constructor(settings: BestSettings) {
    const name = settings.metric_for_best_model ?? "loss";
    this.metric = (name.startsWith("eval_") ? name : `eval_${name}`) as Metric;
    this.greater = settings.greater_is_better ?? !name.endsWith("loss");
    this.patience = settings.early_stopping_patience ?? Number.POSITIVE_INFINITY;
    this.threshold = settings.early_stopping_threshold;
  }

  /** Takes an evaluation. True where it is the best so far. */
  take(evaluation: EvaluationReport): boolean {
    const value = evaluation[this.metric];
    const known = this.bestValue;
    const isBetter = (than: number): boolean => (this.greater ? value > than : value < than);
    // The callback is asked before the best is known anew: a small gain is a new best, and yet too little to go on for.
    const isEnough = known === undefined || (isBetter(known) && Math.abs(value - known) > this.threshold);
    this.evaluationsWithout = isEnough ? 0 : this.evaluationsWithout + 1;
    this.bestValue = known ?? (this.greater ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY);
    if (!isBetter(this.bestValue)) return false;
    this.bestValue = value;
    this.best = { step: evaluation.step, metric: this.metric, value };
    return true;
  }

  /** None has been better for as long as the patience lasts. */
  get isOutOfPatience(): boolean {
    return this.evaluationsWithout >= this.patience;
  }

  /** Undefined until an evaluation gave a number. */
  get found(): Best | undefined {
    return this.best;
  }
}
