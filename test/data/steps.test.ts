import { describe, expect, it } from "vitest";
import { epochOrder } from "../../src/data/order.ts";
import { optimizerSteps, type StepPlan, stepsPerEpoch, totalSteps } from "../../src/data/steps.ts";

const base: StepPlan = {
  max_steps: -1,
  num_train_epochs: 1,
  per_device_train_batch_size: 2,
  gradient_accumulation_steps: 2,
  shuffle: false,
  seed: 1,
};
const letters = [..."abcdefg"];
const run = (plan: Partial<StepPlan>, rows: string[] = letters, firstStep = 1) =>
  [...optimizerSteps(rows, { ...base, ...plan }, firstStep)].map(
    ({ step, epoch, microBatches }) =>
      `${step}/${epoch} ${microBatches.map((batch) => batch.join("")).join("|")}`,
  );

describe("optimizer steps", () => {
  it("keep a short last micro-batch and a short last accumulation", () => {
    expect(run({})).toEqual(["1/0 ab|cd", "2/0 ef|g"]);
    expect(run({ gradient_accumulation_steps: 3 })).toEqual(["1/0 ab|cd|ef", "2/0 g"]);
    expect(run({ per_device_train_batch_size: 100 })).toEqual(["1/0 abcdefg"]);
  });

  it("begin the next epoch at the first row, in a step of its own", () => {
    expect(run({ num_train_epochs: 2 })).toEqual(["1/0 ab|cd", "2/0 ef|g", "3/1 ab|cd", "4/1 ef|g"]);
  });

  it("stop at max_steps, whatever the epochs", () => {
    expect(run({ max_steps: 3, num_train_epochs: 1 })).toEqual(["1/0 ab|cd", "2/0 ef|g", "3/1 ab|cd"]);
    expect(run({ max_steps: 1, num_train_epochs: 9 })).toEqual(["1/0 ab|cd"]);
    expect(run({ max_steps: 0 })).toHaveLength(2);
  });

  it("round a part of an epoch up", () => {
    const plan = { ...base, gradient_accumulation_steps: 1 };
    expect(stepsPerEpoch(7, plan)).toBe(4);
    expect(totalSteps(7, { ...plan, num_train_epochs: 0.3 })).toBe(2);
    expect(totalSteps(7, { ...plan, num_train_epochs: 2.5 })).toBe(10);
    expect(totalSteps(7, { ...plan, num_train_epochs: 0.25 })).toBe(1);
  });

  it.each([false, true])("resume at any step as if they had not stopped (shuffle %s)", (shuffle) => {
    const whole = run({ shuffle, num_train_epochs: 3 });
    for (let first = 1; first <= whole.length + 1; first++) {
      expect(run({ shuffle, num_train_epochs: 3 }, letters, first)).toEqual(whole.slice(first - 1));
    }
  });

  it("go through every row once in a shuffled epoch, in another order each time", () => {
    const rows = Array.from({ length: 40 }, (_, i) => i);
    const orders = [0, 1].map((epoch) =>
      [...optimizerSteps(rows, { ...base, shuffle: true, num_train_epochs: 2 })]
        .filter((step) => step.epoch === epoch)
        .flatMap((step) => step.microBatches.flat()),
    );
    for (const order of orders) expect([...order].sort((a, b) => a - b)).toEqual(rows);
    expect(orders[0]).not.toEqual(orders[1]);
    expect(orders[0]).not.toEqual(rows);
    expect([...epochOrder(40, true, base.seed, 0)]).toEqual(orders[0]);
    expect(epochOrder(40, true, base.seed + 1, 0)).not.toEqual(epochOrder(40, true, base.seed, 0));
  });
});
