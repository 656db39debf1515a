import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Schedule } from "../../src/train/fields.ts";
import { interval, scheduleFactor, totalSteps, warmupSteps } from "../../src/train/schedule.ts";

// Made by reference/schedule_dump.py: what Transformers' Trainer uses at each step.
const cases = JSON.parse(readFileSync(new URL("fixtures/schedules.json", import.meta.url), "utf8")) as {
  type: Schedule;
  warmup_steps: number;
  total: number;
  rates: number[];
}[];

describe("the learning rate", () => {
  it.each(cases.map((one) => [one.type, one.warmup_steps, one.total, one.rates] as const))(
    "is Transformers': %s, warm-up %d of %d",
    (lr_scheduler_type, warmup_steps, total, rates) => {
      const config = { learning_rate: 3e-4, lr_scheduler_type, warmup_steps, warmup_ratio: null };
      const found = rates.map((_, step) => config.learning_rate * scheduleFactor(step, config, total));
      for (const [step, rate] of rates.entries()) {
        expect(Math.abs(found[step]! - rate), `step ${step}`).toBeLessThanOrEqual(1e-18);
      }
    },
  );

  it("takes a ratio where no steps are given, and steps where both are", () => {
    const config = {
      learning_rate: 1,
      lr_scheduler_type: "linear",
      warmup_steps: 0,
      warmup_ratio: 0.1,
    } as const;
    expect(warmupSteps(config, 25)).toBe(3);
    expect(warmupSteps({ ...config, warmup_ratio: 1 }, 25)).toBe(25);
    expect(warmupSteps({ ...config, warmup_steps: 2 }, 25)).toBe(2);
    expect(scheduleFactor(0, config, 25)).toBe(0);
  });
});

describe("the length of a run", () => {
  it("is max_steps above 0, otherwise epochs rounded up to steps", () => {
    expect(totalSteps({ max_steps: 7, num_train_epochs: 3 }, 10)).toBe(7);
    expect(totalSteps({ max_steps: -1, num_train_epochs: 0.25 }, 10)).toBe(3);
    expect(totalSteps({ max_steps: 0, num_train_epochs: 3 }, 10)).toBe(30);
  });

  it("is divided by evaluations at a count or a share of steps", () => {
    expect(interval(null, 10)).toBe(10);
    expect(interval(4, 10)).toBe(4);
    expect(interval(0.25, 10)).toBe(3);
  });
});
