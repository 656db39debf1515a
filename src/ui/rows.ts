/** Rows that people add by hand, and what to ask a model that learns rows. */
import type { Message, ShownRow } from "../worker/api.ts";

/** A question and its answer, added by hand. */
export interface OwnRow {
  readonly question: string;
  readonly answer: string;
}

/** Rows of one's own as a file; undefined where none has both halves. */
export function ownRowsFile(own: readonly OwnRow[]): File | undefined {
  const complete = own.filter(isComplete);
  if (complete.length === 0) return undefined;
  const lines = complete.map((row) => JSON.stringify({ messages: messagesOf(row) }));
  return new File([lines.join("\n")], "own.jsonl", { lastModified: 0 });
}

export function isComplete({ question, answer }: OwnRow): boolean {
  return question.trim() !== "" && answer.trim() !== "";
}

function messagesOf(row: OwnRow): Message[] {
  return [
    { role: "user", content: row.question.trim() },
    { role: "assistant", content: row.answer.trim() },
  ];
}

/** Words that a text is begun with, for the model to go on. */
const PROMPT_WORDS = 5;

/** What to ask a model that learns these rows. */
export function promptsFrom(rows: readonly ShownRow[]): string[] {
  const prompts = rows.map(
    ({ question, text }) => question ?? text.split(/\s+/).slice(0, PROMPT_WORDS).join(" "),
  );
  return [...new Set(prompts)];
}
