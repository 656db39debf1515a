import { expect, it } from "vitest";
import { failure, GraftError } from "../../src/base/errors.ts";
import { endingWords } from "../../src/ui/endingWords.ts";

const whole = { steps: 20, finished: true, diverged: undefined, best: undefined, adapterStep: 20 };
const best = { step: 8, metric: "eval_loss", value: 1.5 } as const;
const diverged = failure(new GraftError("diverged", "After 11 steps the loss is NaN."));
const OF_BEST = "The adapter is that of step 8, the best by eval_loss (1.5000).";

it.each([
  ["a run that went to its end", {}, ""],
  ["one whose last step was its best", { best: { ...best, step: 20 } }, ""],
  ["one that ends with its best", { best, adapterStep: 8 }, OF_BEST],
  [
    "one that was stopped early",
    { steps: 12, adapterStep: 12, best },
    "Early stopping has ended the run after 12 of 20 steps.",
  ],
  [
    "one that was stopped early and ends with its best",
    { steps: 12, best, adapterStep: 8 },
    `Early stopping has ended the run after 12 of 20 steps. ${OF_BEST}`,
  ],
  ["one that diverged", { steps: 11, best, adapterStep: 8, diverged }, OF_BEST],
  [
    "one that its last step broke",
    { best: { ...best, step: 20 }, adapterStep: 20, diverged },
    "The adapter is that of step 20, the best by eval_loss (1.5000).",
  ],
])("tells how it ended: %s", (_, change, words) => {
  expect(endingWords({ ...whole, ...change }, 20)).toBe(words);
});
