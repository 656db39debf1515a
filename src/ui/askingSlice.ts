/** What the models are asked beside training: what is asked for last wins. */
import { failure, type Result } from "../base/errors.ts";
import { answerChecks, askingWords, checksOf, FIRST_ANSWER_SETTINGS, type Scores } from "./asking.ts";
import { bundledSetOf, FIRST_CHOICES } from "./material.ts";
import { TYPING_MS } from "./opening.ts";
import { type AskingSlice, type PageState, questionOf } from "./pageState.ts";
import type { Slice, SliceParts } from "./slice.ts";

export function askingSlice({ worker, bundle, asks, sideBySide, open }: SliceParts): Slice<AskingSlice> {
  return (set, get) => {
    const endAsking = (): void => {
      if (get().asking === undefined) return;
      asks.end();
      set({ asking: undefined, progress: undefined });
      void worker.stopAnswers();
    };

    /** A run that can begin is planned anew, for it would ask otherwise; one that has begun is left alone. */
    const planSamples = (): void => {
      const { phase } = get();
      if (phase === "ready" || phase === "opening") void open(TYPING_MS);
    };

    return {
      promptsAreOwn: false,
      prompts: bundledSetOf(FIRST_CHOICES)?.prompts ?? [],
      promptForm: bundledSetOf(FIRST_CHOICES)?.kind ?? "text",
      answerSettings: FIRST_ANSWER_SETTINGS,
      strength: 1,
      asksWhileTraining: false,
      ...{ asking: undefined, asked: undefined, scores: undefined },
      setPrompts: (prompts, form) => {
        set({ prompts, promptForm: form ?? get().promptForm, promptsAreOwn: true });
        if (get().asksWhileTraining) planSamples();
      },
      setAnswering: (settings) => {
        set({ answerSettings: { ...get().answerSettings, ...settings } });
        if (get().asksWhileTraining) planSamples();
      },
      setStrength: (strength) => set({ strength }),
      askWhileTraining: (on) => {
        set({ asksWhileTraining: on });
        planSamples();
      },
      ask: async () => {
        endAsking();
        const isLatest = asks.begin();
        const question = questionOf(get());
        if (question.prompts.length === 0) return;
        const { strength } = get();
        const step = stepsBehind(get());
        const how = askingWords(question);
        set({ asking: "answers", progress: undefined });
        const adapters = strength === 1 ? undefined : [{ id: "run", strength } as const];
        const failed = await sideBySide.ask(
          question,
          { base: { asBase: true }, tuned: step > 0 ? { asBase: false, adapters } : undefined },
          {
            onProgress: (progress) => isLatest() && set({ progress }),
            onAnswers: (answers) => set({ asked: { how, step, strength, answers } }),
            isStopped: () => !isLatest(),
          },
        );
        if (!isLatest()) return;
        set({ asking: undefined, progress: undefined, ...(failed ? { problem: failed } : {}) });
      },
      score: async () => {
        const { choices } = get();
        const step = stepsBehind(get());
        const bundled = bundledSetOf(choices);
        if (bundled?.kind !== "chat" || step === 0) return;
        endAsking();
        const isLatest = asks.begin();
        set({ asking: "scores", progress: undefined });
        const show = (scores: Omit<Scores, "step">) => set({ scores: { ...scores, step } });
        let result: Result<boolean>;
        try {
          const checks = await checksOf(bundled, choices.ownRows, bundle);
          if (!isLatest()) return;
          show({ checks, done: 0, total: 2 * checks.reduce((sum, { answers }) => sum + answers.length, 0) });
          result = await answerChecks(worker, checks, {
            onProgress: (progress) => isLatest() && set({ progress }),
            onChecks: (checked, done, total) => isLatest() && show({ checks: checked, done, total }),
            isStopped: () => !isLatest(),
          });
        } catch (thrown) {
          result = failure(thrown);
        }
        if (!isLatest()) return;
        set({ asking: undefined, progress: undefined, ...(result.ok ? {} : { problem: result }) });
      },
      stopAsking: endAsking,
    };
  };
}

/** Steps that the tuned model has behind it. */
export function stepsBehind({ outcome, last }: PageState): number {
  return outcome?.adapterStep ?? last?.step ?? 0;
}
