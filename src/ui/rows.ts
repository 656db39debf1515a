/** Rows as people write them, made into the JSON Lines that the engine reads. */
import { isJsonObject } from "../base/json.ts";
import type { Message } from "../worker/api.ts";

/** How plain text becomes rows. */
export type Split = "lines" | "whole";

/** A question and its answer, added by hand. */
export interface OwnRow {
  readonly question: string;
  readonly answer: string;
}

export interface ShownRow {
  readonly question?: string;
  readonly text: string;
}

const LINES_NAME = "text.jsonl";
/** Of a file, for its preview. */
const PREVIEW_BYTES = 64 * 1024;
/** Every so many rows one is held out. */
const HELD_OUT_EVERY = 10;

/** Whether a text is rows already: its first line that is not blank is an object. */
export function isJsonLines(text: string): boolean {
  const first = /^\s*(.*)/.exec(text)?.[1] ?? "";
  return first.startsWith("{");
}

/** What was written, as a file: JSON Lines as they are, else each non-blank line a row, or the whole of it one. */
export function rowsFile(text: string, split: Split): File {
  return new File([linesOf(text, split).join("\n")], LINES_NAME);
}

/** The same, with every tenth row held out. */
export function splitRows(text: string, split: Split): { train: File; heldOut: File | undefined } {
  const lines = linesOf(text, split);
  const isHeld = (i: number) => i % HELD_OUT_EVERY === HELD_OUT_EVERY - 1;
  const held = lines.filter((_, i) => isHeld(i));
  if (held.length === 0) return { train: new File([lines.join("\n")], LINES_NAME), heldOut: undefined };
  const train = lines.filter((_, i) => !isHeld(i));
  return {
    train: new File([train.join("\n")], LINES_NAME),
    heldOut: new File([held.join("\n")], LINES_NAME),
  };
}

/** Rows in a text, blank lines not counted. */
export function countRows(text: string, split: Split): number {
  if (split === "whole" && !isJsonLines(text)) return text.trim() === "" ? 0 : 1;
  // From its first letter to its end, every line that has one: nothing is made of a long text only to be counted.
  return text.match(/\S[^\n]*/g)?.length ?? 0;
}

function linesOf(text: string, split: Split): string[] {
  if (split === "whole" && !isJsonLines(text)) {
    return text.trim() === "" ? [] : [JSON.stringify({ text: text.trim() })];
  }
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  return isJsonLines(text) ? lines : lines.map((line) => JSON.stringify({ text: line.trim() }));
}

/** Rows with some of one's own behind them. */
export function withOwnRows(file: File, own: readonly OwnRow[]): File {
  const complete = own.filter(isComplete);
  if (complete.length === 0) return file;
  const lines = complete.map((row) => JSON.stringify({ messages: messagesOf(row) }));
  return new File([file, "\n", lines.join("\n"), "\n"], file.name);
}

export function isComplete({ question, answer }: OwnRow): boolean {
  return question.trim() !== "" && answer.trim() !== "";
}

function messagesOf({ question, answer }: OwnRow): Message[] {
  return [
    { role: "user", content: question.trim() },
    { role: "assistant", content: answer.trim() },
  ];
}

/** The first rows of a file. Lines that are no rows are left out: the worker is the one that refuses them. */
export async function firstRows(file: Blob, most: number): Promise<ShownRow[]> {
  const lines = (await file.slice(0, PREVIEW_BYTES).text()).split("\n");
  // The last line may have been cut in two.
  if (file.size > PREVIEW_BYTES) lines.pop();
  return lines.flatMap((line) => shownRow(line) ?? []).slice(0, most);
}

function shownRow(line: string): ShownRow | undefined {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isJsonObject(row)) return undefined;
  if (typeof row.text === "string") return { text: row.text };
  if (!Array.isArray(row.messages)) return undefined;
  const said = row.messages
    .filter(isJsonObject)
    .map(({ role, content }) => ({ role, content: String(content) }));
  const text = said.findLast(({ role }) => role === "assistant")?.content;
  const question = said.find(({ role }) => role === "user")?.content;
  return text === undefined || question === undefined ? undefined : { question, text };
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
