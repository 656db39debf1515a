/** What a model answers, whatever adapters it has on. */
import type { ChatTemplate } from "../data/chat.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import { Generator } from "./generator.ts";
import type { OpenedModel } from "./openModel.ts";
import { type Prompt, promptIds } from "./prompts.ts";
import { GREEDY, type Sampling } from "./sampling.ts";

export interface AnswerOptions extends Partial<Sampling> {
  readonly max_new_tokens?: number;
  /** The base model answers: the adapter is left out. */
  readonly asBase?: boolean;
  /** Hears of an answer as it grows. */
  readonly onText?: (prompt: number, text: string) => void;
  readonly isStopped?: () => boolean;
}

/** Answers that are written side by side, and how many tokens each has room for unless told. */
const ANSWER_LANES = 8;
const ANSWER_TOKENS = 128;
/** Contexts are as long as a multiple of this: each length has rotary tables, which stay with the frozen weights. */
const CONTEXT_STEP = 64;

/** The answers to all prompts, of the model as it is now. Greedy unless told otherwise. */
export async function answersOf(
  adapted: AdaptedModel,
  { tokenizer, stopIds, model }: OpenedModel,
  template: ChatTemplate,
  prompts: readonly Prompt[],
  options: AnswerOptions = {},
): Promise<string[]> {
  const { max_new_tokens = ANSWER_TOKENS, asBase = false, onText, isStopped, ...sampling } = options;
  const ids = await promptIds(prompts, tokenizer, template);
  const longest = ids.reduce((most, { length }) => Math.max(most, length), 0);
  const generator = new Generator(adapted, {
    lanes: Math.min(ANSWER_LANES, prompts.length),
    context: Math.min(
      model.config.maxPositions,
      CONTEXT_STEP * Math.ceil((longest + max_new_tokens) / CONTEXT_STEP),
    ),
    asBase,
  });
  // What stays with the frozen weights is there before what is given back.
  await adapted.load();
  const undo = adapted.gpu.checkpoint();
  try {
    await generator.prepare();
    const soFar = prompts.map((): number[] => []);
    const answers = await generator.generate(
      ids,
      { ...GREEDY, ...sampling, max_new_tokens, stopIds },
      (prompt, id) => {
        soFar[prompt]!.push(id);
        onText?.(prompt, tokenizer.decode(soFar[prompt]!));
      },
      isStopped,
    );
    return answers.map((answer) => tokenizer.decode(answer.ids));
  } finally {
    generator.destroy();
    undo();
  }
}
