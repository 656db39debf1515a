/** What looks at the model between steps: held-out rows, samples, and the best that was kept. */
import type { AdaptedModel } from "./adaptedModel.ts";
import { type Best, BestSoFar } from "./best.ts";
import type { Evaluator } from "./evaluator.ts";
import type { TrainConfig } from "./fields.ts";
import { KeptValues } from "./keptValues.ts";
import { checkLoss } from "./notNumbers.ts";
import type { EvaluationReport, SampleReport } from "./reports.ts";
import type { Sampler } from "./sampler.ts";
import { interval } from "./schedule.ts";

export interface WatchOptions {
  readonly adapted: AdaptedModel;
  readonly train: TrainConfig;
  /** Of the whole run. */
  readonly steps: number;
  readonly evaluator: Evaluator | undefined;
  readonly sampler: Sampler | undefined;
}

export class Watch {
  private readonly options: WatchOptions;
  private readonly evaluatesEvery: number;
  private readonly samplesEvery: number;
  private readonly best: BestSoFar;
  private readonly kept: KeptValues | undefined;
  /** After which step it was last evaluated, and sampled. */
  private evaluated = -1;
  private sampled = -1;

  constructor(options: WatchOptions) {
    const { adapted, train, steps } = options;
    this.options = options;
    this.evaluatesEvery = interval(train.eval_steps, steps);
    this.samplesEvery = interval(train.samples?.every ?? null, steps);
    this.best = new BestSoFar(train);
    this.kept = train.load_best_model_at_end ? new KeptValues(adapted) : undefined;
  }

  /** Bytes on the device, beside the model itself. */
  bytes() {
    const parts = [this.options.evaluator?.bytes(), this.options.sampler?.bytes()];
    const sum = (purpose: "activations" | "inputs" | "control"): number =>
      parts.reduce((total, part) => total + (part?.[purpose] ?? 0), 0);
    return {
      adapter: this.kept?.bytes() ?? 0,
      activations: sum("activations"),
      inputs: sum("inputs"),
      control: sum("control"),
    };
  }

  async prepare(): Promise<void> {
    await this.options.evaluator?.prepare();
    await this.options.sampler?.prepare();
    this.kept?.prepare();
  }

  /** The next step after which there is something to do. */
  nextAfter(step: number): number {
    const { steps, evaluator, sampler } = this.options;
    const next = (every: number): number => Math.min(steps, (Math.floor(step / every) + 1) * every);
    return Math.min(evaluator ? next(this.evaluatesEvery) : steps, sampler ? next(this.samplesEvery) : steps);
  }

  /** Does what there is to do after `step` and is not done yet. False where `isStopped` kept it from all of it. */
  async look(
    step: number,
    elapsed_ms: number,
    tell: (report: EvaluationReport | SampleReport) => void,
    isStopped: () => boolean,
  ): Promise<boolean> {
    const { steps, evaluator, sampler } = this.options;
    if (evaluator && this.evaluated !== step && (step % this.evaluatesEvery === 0 || step === steps)) {
      const { loss, entropy, mean_token_accuracy } = await evaluator.evaluate();
      checkLoss(loss, step, "held-out loss");
      const means = { eval_loss: loss, eval_entropy: entropy, eval_mean_token_accuracy: mean_token_accuracy };
      this.evaluated = step;
      this.compare({ step, ...means, elapsed_ms }, tell);
    }
    const isLast = step === steps || this.isOver;
    if (sampler && this.sampled !== step && (step % this.samplesEvery === 0 || isLast)) {
      const samples = await sampler.sample(isStopped);
      if (!samples) return false;
      this.sampled = step;
      tell({ step, samples, elapsed_ms });
    }
    return true;
  }

  /** Whether early stopping ends the run. */
  get isOver(): boolean {
    return this.best.isOutOfPatience;
  }

  /** The best evaluation so far. */
  get found(): Best | undefined {
    return this.best.found;
  }

  /** Makes the model what it was at its best. The step after which that was; undefined where nothing was kept. */
  restoreBest(): number | undefined {
    const { found } = this.best;
    if (!this.kept || !found) return undefined;
    this.kept.restore();
    return found.step;
  }

  destroy(): void {
    this.options.evaluator?.destroy();
    this.options.sampler?.destroy();
    this.kept?.destroy();
  }

  private compare(report: EvaluationReport, tell: (report: EvaluationReport) => void): void {
    tell(report);
    // What a run starts from is nothing that it found.
    if (report.step > 0 && this.best.take(report)) this.kept?.keep();
  }
}
