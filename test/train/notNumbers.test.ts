import { expect, it } from "vitest";
import { checkAlike } from "../../src/train/notNumbers.ts";

const nats = Math.log(180);
const alike = { loss: nats, entropy: nats, mean_token_accuracy: 1, grad_norm: 0 };

it("takes logits that are all the same for divergence after a step, and for a broken start before", () => {
  expect(() => checkAlike(alike, 3)).toThrow(/^After 3 steps every token has the same logit/);
  expect(() => checkAlike(alike, 0)).toThrow(/^Before the first step every token has the same logit/);
});

// A model that is sure has neither loss nor entropy; a head that begins at zero has a gradient.
it.each([
  ["a model that is sure of every token", { loss: 0, entropy: 0 }],
  ["a head of zeros that learns", { grad_norm: 1e-30 }],
  ["entropy that happens to be the loss", { mean_token_accuracy: 0.5 }],
  ["an unsure model without a gradient", { entropy: 0.99 * nats }],
])("lets pass %s", (_, more) => {
  expect(() => checkAlike({ ...alike, ...more }, 3)).not.toThrow();
});
