/** Both models answer the same prompts, and are scored where there is a right answer. */
import type { JsonObject } from "../base/json.ts";
import type { BundledSet } from "../data/bundled.ts";
import type { AnswerRequest, Failure, Message, Progress, Prompt, Result, TrainApi } from "../worker/api.ts";
import type { Bundle } from "./bundle.ts";
import { isComplete, type OwnRow } from "./rows.ts";

/** How a prompt is put to the model: as a user's turn of a conversation, or as text to go on with. */
export type PromptForm = "chat" | "text";

/** Words and meaning are those of Transformers' GenerationConfig. */
export interface AnswerSettings {
  readonly do_sample: boolean;
  readonly temperature: number;
  readonly seed: number;
  readonly max_new_tokens: number;
}

export const FIRST_ANSWER_SETTINGS: AnswerSettings = {
  ...{ do_sample: false, temperature: 0.8, seed: 1, max_new_tokens: 60 },
};

export interface AskedPrompt {
  readonly prompt: string;
  readonly base: string | undefined;
  readonly tuned: string | undefined;
}

export interface Asked {
  /** How they were asked, as `askingWords` says it. */
  readonly how: string;
  /** The step after which the tuned model answered; 0 where only the base has. */
  readonly step: number;
  /** Of the adapter: 0 is the base, 1 as it was trained. */
  readonly strength: number;
  readonly answers: readonly AskedPrompt[];
}

/** Prompts as people have them on the page. */
export interface Question {
  readonly prompts: readonly string[];
  readonly form: PromptForm;
  readonly settings: AnswerSettings;
}

/** `put as questions and answered greedily`: the same words wherever the same prompts would have the same answers. */
export function askingWords({ form, settings }: Question): string {
  const { do_sample, temperature, seed } = settings;
  const put = form === "chat" ? "put as questions" : "put as text to go on with";
  const answered = do_sample
    ? `sampled at temperature ${temperature} with seed ${seed}`
    : "answered greedily";
  return `${put} and ${answered}`;
}

/** How a model that answers is named to the worker. */
export type Answerer = Pick<AnswerRequest, "asBase" | "adapters">;

/** One question of a check, and what both models said. */
export interface CheckedAnswer {
  readonly question: string;
  readonly wanted: string;
  readonly base: string | undefined;
  readonly tuned: string | undefined;
}

export interface Check {
  readonly id: string;
  readonly title: string;
  readonly heldOut: boolean;
  readonly answers: readonly CheckedAnswer[];
}

export interface Scores {
  readonly step: number;
  readonly checks: readonly Check[];
  /** Answers that are there, of those that were asked for. */
  readonly done: number;
  readonly total: number;
}

/** Answers of a check are short; one that goes on past this is wrong anyway. */
const CHECK_TOKENS = 24;
/** So many at once, so that a download need not wait for all of them. */
const CHECK_CHUNK = 64;

function promptOf(text: string, form: PromptForm): Prompt {
  return form === "text" ? { text } : { messages: [{ role: "user", content: text }] };
}

/** The run file's `samples` that ask the same; undefined where there is nothing to ask. */
export function samplesOf(
  prompts: readonly string[],
  form: PromptForm,
  { do_sample, temperature, seed, max_new_tokens }: AnswerSettings,
): JsonObject | undefined {
  const asked = prompts.filter((prompt) => prompt.trim() !== "");
  if (asked.length === 0) return undefined;
  return {
    prompts: asked.map((text) => (form === "text" ? text : [{ role: "user", content: text }])),
    temperature: do_sample ? temperature : 0,
    ...{ seed, max_new_tokens },
  };
}

interface AnswerListener {
  readonly onProgress: (progress: Progress) => void;
  readonly onAnswers: (answers: readonly AskedPrompt[]) => void;
  readonly isStopped: () => boolean;
}

/** The base and a tuned model answer the same. What the base has said to a question is kept: it would say it again. */
export class SideBySide {
  private readonly worker: Pick<TrainApi, "answers">;
  private baseSaid: { readonly to: string; readonly texts: readonly string[] } | undefined;

  constructor(worker: Pick<TrainApi, "answers">) {
    this.worker = worker;
  }

  /** The base is another. */
  forget(): void {
    this.baseSaid = undefined;
  }

  /** The answers as they grow, the base's first; its alone where there is no tuned model. Gives what went wrong. */
  async ask(
    question: Question,
    { base, tuned }: { readonly base: Answerer; readonly tuned: Answerer | undefined },
    { onProgress, onAnswers, isStopped }: AnswerListener,
  ): Promise<Failure | undefined> {
    const { prompts, form, settings } = question;
    const to = JSON.stringify(question);
    const known = this.baseSaid?.to === to ? this.baseSaid.texts : undefined;
    let answers = prompts.map((prompt, i): AskedPrompt => ({ prompt, base: known?.[i], tuned: undefined }));
    const show = (side: "base" | "tuned", texts: ReadonlyMap<number, string>): void => {
      answers = answers.map((answer, i) => (texts.has(i) ? { ...answer, [side]: texts.get(i) } : answer));
      onAnswers(answers);
    };
    onAnswers(answers);
    const askOne = async (side: "base" | "tuned", answerer: Answerer): Promise<Failure | undefined> => {
      const request = { ...settings, prompts: prompts.map((prompt) => promptOf(prompt, form)), ...answerer };
      const result = await this.worker.answers(request, onProgress, (texts) => {
        if (!isStopped()) show(side, new Map(texts.map(({ prompt, text }) => [prompt, text])));
      });
      if (isStopped()) return undefined;
      if (!result.ok) return result;
      show(side, new Map(result.value.entries()));
      if (side === "base") this.baseSaid = { to, texts: result.value };
      return undefined;
    };
    const failed = known ? undefined : await askOne("base", base);
    if (failed || !tuned || isStopped()) return failed;
    return askOne("tuned", tuned);
  }
}

/** Letter by letter, but for blanks around it. */
export function isRight(answer: string | undefined, wanted: string): boolean {
  return answer !== undefined && answer.trim() === wanted.trim();
}

export interface Share {
  readonly right: number;
  readonly total: number;
}

/** Undefined until every answer is there. */
export function shareOf({ answers }: Check, side: "base" | "tuned"): Share | undefined {
  if (answers.length === 0 || answers.some((answer) => answer[side] === undefined)) return undefined;
  return {
    right: answers.filter((answer) => isRight(answer[side], answer.wanted)).length,
    total: answers.length,
  };
}

/** The checks of a set with a right answer to each question, and one of the user's own rows where there are some. */
export async function checksOf(set: BundledSet, own: readonly OwnRow[], bundle: Bundle): Promise<Check[]> {
  if (set.kind !== "chat") return [];
  const checks = set.checks.map(async ({ id, title, heldOut, rows }): Promise<Check> => {
    const lines = (await (await bundle.rows(rows)).text()).split("\n").filter((line) => line.trim() !== "");
    const questions = lines.map((line) => questionOf((JSON.parse(line) as { messages: Message[] }).messages));
    return { id, title, heldOut, answers: questions };
  });
  const mine = own
    .filter(isComplete)
    .map(({ question, answer }) => unanswered(question.trim(), answer.trim()));
  const ownCheck: Check = { id: "own", title: "Your rows, as taught", heldOut: false, answers: mine };
  return [...(await Promise.all(checks)), ...(mine.length > 0 ? [ownCheck] : [])];
}

function questionOf(messages: readonly Message[]): CheckedAnswer {
  const question = messages.find(({ role }) => role === "user")?.content ?? "";
  return unanswered(question, messages.findLast(({ role }) => role === "assistant")?.content ?? "");
}

function unanswered(question: string, wanted: string): CheckedAnswer {
  return { question, wanted, base: undefined, tuned: undefined };
}

/** Asks both models all questions of the checks. Gives undefined where it was told to stop. */
export async function answerChecks(
  worker: TrainApi,
  checks: readonly Check[],
  hear: {
    onProgress: (progress: Progress) => void;
    onChecks: (checks: readonly Check[], done: number, total: number) => void;
    isStopped: () => boolean;
  },
): Promise<Result<boolean>> {
  const current = checks.map((check) => ({ ...check, answers: [...check.answers] }));
  const places = current.flatMap((check) => check.answers.map((_, i) => ({ check, i })));
  const total = 2 * places.length;
  let done = 0;
  for (const side of ["base", "tuned"] as const) {
    for (let start = 0; start < places.length; start += CHECK_CHUNK) {
      const chunk = places.slice(start, start + CHECK_CHUNK);
      const request: AnswerRequest = {
        prompts: chunk.map(({ check, i }) => promptOf(check.answers[i]!.question, "chat")),
        asBase: side === "base",
        max_new_tokens: CHECK_TOKENS,
      };
      const result = await worker.answers(request, hear.onProgress, () => {});
      if (!result.ok) return result;
      // Answers that were cut off are no answers.
      if (hear.isStopped()) return { ok: true, value: false };
      for (const [at, { check, i }] of chunk.entries()) {
        check.answers[i] = { ...check.answers[i]!, [side]: result.value[at] ?? "" };
      }
      done += chunk.length;
      hear.onChecks(
        current.map((check) => ({ ...check, answers: [...check.answers] })),
        done,
        total,
      );
    }
  }
  return { ok: true, value: true };
}
