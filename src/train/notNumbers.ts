/** What NaN, infinity and what they leave behind are told as: no token can be chosen by such logits, and no step is of use after such a loss. */
import { GraftError } from "../base/errors.ts";
import { plural } from "../base/words.ts";
import type { TokenMeans } from "../ops/scalars.ts";

/** Throws GraftError "not-finite" where one of a token's logits is no number. `whose` says what gave them. */
export function checkLogits(logits: Float32Array, whose: "base" | "trained"): void {
  let bad = 0;
  for (const logit of logits) if (!Number.isFinite(logit)) bad++;
  if (bad === 0) return;
  const [model, remedy] =
    whose === "base"
      ? ["The base model", "Its weights are damaged: fetch its files anew."]
      : [
          "The model with what was trained",
          "If the base model alone answers, the training has diverged: train again with a lower learning_rate, or take an earlier checkpoint.",
        ];
  const found = `${bad} of the ${logits.length} logits of a token are NaN or infinite`;
  throw new GraftError("not-finite", `${model} gives no numbers to choose a token by: ${found}.`, remedy);
}

/**
 * Throws GraftError "diverged" where a loss after so many steps is no number, and "start-not-finite" where none was taken.
 * `what` is told as what it is: "loss", "held-out loss".
 */
export function checkLoss(loss: number, steps: number, what: string): void {
  if (Number.isFinite(loss)) return;
  if (steps > 0) throw diverged(steps, `the ${what} is ${loss}`);
  throw badStart("start-not-finite", `the ${what} is ${loss}: what the run starts from gives no numbers`);
}

/** Throws GraftError "diverged" where the norm of the gradient that step `step` goes by is no number. */
export function checkGradient(norm: number, step: number): void {
  if (!Number.isFinite(norm)) throw diverged(step - 1, `the norm of the gradient is ${norm}`);
}

/**
 * Throws GraftError "diverged" where a step that so many came before found every token with the same logit and nothing to
 * learn from that, and "start-alike" where it was the first. Norms divide by the size of what they read: where that is
 * infinite, zeros are left. The loss stays a number, ln of the vocabulary's size.
 */
export function checkAlike(found: TokenMeans & { readonly grad_norm: number }, steps: number): void {
  const { loss, entropy, mean_token_accuracy, grad_norm } = found;
  // Every target is among the likeliest, and the likeliest share all there is: then both sums are the same, to the bit.
  const isAlike = mean_token_accuracy === 1 && loss === entropy && loss > 0;
  if (!isAlike || grad_norm !== 0) return;
  const what = "every token has the same logit and no gradient is left";
  if (steps > 0) throw diverged(steps, what);
  throw badStart("start-alike", `${what}: nothing can be learnt from there`);
}

/** Whether this is one of the errors by which a run that diverges is told of. */
export function isDivergence(thrown: unknown): boolean {
  return thrown instanceof GraftError && (thrown.code === "diverged" || thrown.code === "not-finite");
}

function diverged(steps: number, what: string): GraftError {
  return new GraftError(
    "diverged",
    `After ${steps} ${plural(steps, "step")} ${what}: the run has diverged.`,
    "Start again with a lower learning_rate, a warm-up, or a smaller lora_alpha.",
  );
}

function badStart(code: string, what: string): GraftError {
  return new GraftError(
    code,
    `Before the first step ${what}.`,
    "The base model's weights are damaged, or the adapter that the run goes on from has diverged: take others.",
  );
}
