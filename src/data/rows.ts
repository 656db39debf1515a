import type { Json } from "../base/json.ts";
import type { Fault } from "./faults.ts";

/** Plain text, all of it learnt. */
export interface TextRow {
  readonly text: string;
  /** Where it stands in the file, counted from 1: the line of a file of lines, otherwise the row. */
  readonly line: number;
}

/** A text to go on from, and what is learnt of it. */
export interface PromptRow {
  readonly prompt: string;
  readonly completion: string;
  readonly line: number;
}

/** A turn. Further keys (tool_calls, name, reasoning_content, …) are passed through to the chat template. */
export interface Message {
  readonly role: string;
  /** Empty where a turn consists of tool calls. */
  readonly content: string;
  readonly [key: string]: Json;
}

/** A conversation: what the assistant says is learnt, the rest is read. */
export interface ChatRow {
  readonly messages: readonly Message[];
  /** What the assistant may call, for templates that know tools. */
  readonly tools?: readonly Json[];
  /** How many of the messages are the prompt, where the row came as prompt and completion. */
  readonly promptTurns?: number;
  readonly line: number;
}

export type Row = TextRow | PromptRow | ChatRow;

export interface ParsedRows {
  readonly rows: readonly Row[];
  /** Of which record each row was made, counted from 0 through all tables. */
  readonly places: readonly number[];
  /** Halves of surrogate pairs that stood alone and became U+FFFD. */
  readonly replacedSurrogates: number;
  /** The first rows that could not be used, and how many there are: they are left out. */
  readonly faults: readonly Fault[];
  readonly faultCount: number;
  /** Columns that no row was made of. */
  readonly unusedColumns: readonly string[];
}
