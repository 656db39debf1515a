import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type BestSettings, BestSoFar } from "../../src/train/best.ts";
import type { EvaluationReport } from "../../src/train/reports.ts";

interface Reference {
  readonly settings: BestSettings;
  readonly evaluations: readonly Omit<EvaluationReport, "step" | "elapsed_ms">[];
  readonly best_steps: readonly number[];
  readonly stops_after: number | null;
}

const references = JSON.parse(
  readFileSync(new URL("fixtures/early_stopping.json", import.meta.url), "utf8"),
) as Reference[];

describe("the best evaluation, and the end for want of a better one", () => {
  it.each(references)("are those of Transformers: $settings", ({ settings, evaluations, ...wanted }) => {
    const best = new BestSoFar(settings);
    const steps: (number | undefined)[] = [];
    let stopsAfter: number | null = null;
    for (const [i, means] of evaluations.entries()) {
      const step = 10 * (i + 1);
      const isBest = best.take({ ...means, step, elapsed_ms: 0 });
      expect(isBest).toBe(best.found?.step === step);
      steps.push(best.found?.step);
      if (best.isOutOfPatience) stopsAfter ??= step;
    }
    expect(steps).toEqual(wanted.best_steps);
    expect(stopsAfter).toBe(wanted.stops_after);
  });

  it("are unknown while no evaluation gave a number", () => {
    const settings = { metric_for_best_model: null, greater_is_better: null };
    const best = new BestSoFar({ ...settings, early_stopping_patience: 1, early_stopping_threshold: 0 });
    const means = { eval_loss: Number.NaN, eval_entropy: 1, eval_mean_token_accuracy: 0, elapsed_ms: 0 };
    expect(best.take({ ...means, step: 1 })).toBe(false);
    expect(best.found).toBeUndefined();
    expect(best.take({ ...means, step: 2, eval_loss: 3 })).toBe(true);
    expect(best.found).toEqual({ step: 2, metric: "eval_loss", value: 3 });
  });
});
