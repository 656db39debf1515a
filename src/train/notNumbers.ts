/** What NaN and infinity are told as: no token can be chosen by such logits, and no step is of use after such a loss. */
import { GraftError } from "../base/errors.ts";
import { plural } from "../base/words.ts";

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
  if (steps > 0) throw diverged(steps, what, loss);
  throw new GraftError(
    "start-not-finite",
    `Before the first step the ${what} is ${loss}: what the run starts from gives no numbers.`,
    "The base model's weights are damaged, or the adapter that the run goes on from has diverged: take others.",
  );
}

/** Throws GraftError "diverged" where the norm of the gradient that step `step` goes by is no number. */
export function checkGradient(norm: number, step: number): void {
  if (!Number.isFinite(norm)) throw diverged(step - 1, "norm of the gradient", norm);
}

/** Whether this is one of the errors by which a run that diverges is told of. */
export function isDivergence(thrown: unknown): boolean {
  return thrown instanceof GraftError && (thrown.code === "diverged" || thrown.code === "not-finite");
}

function diverged(steps: number, what: string, found: number): GraftError {
  return new GraftError(
    "diverged",
    `After ${steps} ${plural(steps, "step")} the ${what} is ${found}: the run has diverged.`,
    "Start again with a lower learning_rate, a warm-up, or a smaller lora_alpha.",
  );
}
