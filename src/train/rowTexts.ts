/** Values and rows as the texts that people are shown. */
import { isJsonObject, type Json } from "../base/json.ts";
import type { Row } from "../data/rows.ts";

/** The beginning of a text that a table shows. */
const SHOWN_CHARACTERS = 240;

/** The beginning of what a row teaches, and of what it is asked with. */
export interface ShownRow {
  readonly question?: string;
  readonly text: string;
}

/** A value whole: JSON where it is no text. */
export function textOf(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The beginning of a value: of a conversation what is said in it, turn after turn. */
export function cellOf(value: Json | undefined): string {
  const said = Array.isArray(value)
    ? value.map((turn) => (isJsonObject(turn) ? (turn.content ?? turn.value) : undefined))
    : [];
  const isConversation = said.length > 0 && said.every((text) => typeof text === "string");
  return clipped(isConversation ? said.join(" → ") : textOf(value));
}

function clipped(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/** The first question and answer of a row, or its text. */
export function shownRow(row: Row): ShownRow {
  if ("text" in row) return { text: clipped(row.text) };
  if ("prompt" in row) return { question: clipped(row.prompt), text: clipped(row.completion) };
  const said = (role: string) => row.messages.find((message) => message.role === role)?.content;
  const [question, text] = [said("user"), said("assistant") ?? ""];
  return { ...(question !== undefined && { question: clipped(question) }), text: clipped(text) };
}
