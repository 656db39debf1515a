/** Conversations as files have them: turns by OpenAI's names or ShareGPT's. */
import { isJsonObject, type Json, type JsonObject, show } from "../base/json.ts";
import { RowFault } from "./faults.ts";
import { checkDepth } from "./formats/json.ts";
import type { Message } from "./rows.ts";

const ROLES = ["system", "developer", "user", "assistant", "tool", "function", "ipython"];
/** ShareGPT's speakers that are not called by their role. */
const SPEAKERS: Readonly<Record<string, string>> = {
  human: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  bing: "assistant",
  bard: "assistant",
  model: "assistant",
  observation: "tool",
  function_response: "tool",
};
const REMEDY = 'A message is {"role": "user" or "assistant" or "system", "content": "…"}.';

/** A row's turns. Throws RowFault. */
export function messagesOf(value: Json | undefined, column: string): Message[] {
  const turns = listOf(value);
  if (!turns || turns.length === 0) {
    throw new RowFault("row-messages", ` has ${show(column)}: ${show(value)}, expected a list.`, REMEDY);
  }
  return turns.map((turn, i) => messageOf(turn, i + 1));
}

/** Throws RowFault where nobody in the conversation says what could be learnt. */
export function checkAnswered(messages: readonly Message[]): void {
  if (messages.some(({ role }) => role === "assistant")) return;
  throw new RowFault("row-messages", " has no message of the assistant, so nothing to learn.", REMEDY);
}

/** What may be called; some files hold the list as a text. Throws RowFault. */
export function toolsOf(value: Json | undefined): Json[] | undefined {
  if (value === undefined || value === null) return undefined;
  const tools = listOf(value);
  if (tools) return tools;
  throw new RowFault("row-tools", ` has "tools": ${show(value)}, expected a list of JSON schemas.`);
}

/** A list, or a text that is one in JSON, as tables hold it. */
function listOf(value: Json | undefined): Json[] | undefined {
  if (Array.isArray(value)) return value;
  if (typeof value !== "string" || !value.trimStart().startsWith("[")) return undefined;
  let list: Json[];
  try {
    list = JSON.parse(value) as Json[];
  } catch {
    return undefined;
  }
  checkDepth(list);
  return list;
}

function messageOf(turn: Json, place: number): Message {
  if (!isJsonObject(turn)) throw badMessage(turn, place);
  const named = typeof turn.role === "string" ? turn : renamed(turn);
  const { role } = named;
  if (typeof role !== "string") throw badMessage(turn, place);
  if (!ROLES.includes(role)) {
    const found = `, message ${place} has the role ${show(role)}, expected one of ${ROLES.join(", ")}.`;
    throw new RowFault("row-role", found);
  }
  if (typeof named.content === "string") return named as Message;
  return { ...named, role, content: contentOf(named, place) };
}

/** A turn in ShareGPT's words, in OpenAI's. */
function renamed({ from, value, ...others }: JsonObject): JsonObject {
  if (typeof from !== "string") return {};
  const role = Object.hasOwn(SPEAKERS, from) ? SPEAKERS[from]! : from;
  return { role, content: value ?? null, ...others };
}

function contentOf(turn: JsonObject, place: number): string {
  const { content, tool_calls: calls } = turn;
  // Whoever calls a tool need not say anything.
  if ((content === null || content === undefined) && Array.isArray(calls) && calls.length > 0) return "";
  if (Array.isArray(content) && content.length > 0) {
    return content.map((part) => partOf(part) ?? fail(badMessage(turn, place))).join("");
  }
  throw badMessage(turn, place);
}

/** Of a content that is given in parts, those that are text. */
function partOf(part: Json): string | undefined {
  return isJsonObject(part) && part.type === "text" && typeof part.text === "string" ? part.text : undefined;
}

function fail(fault: RowFault): never {
  throw fault;
}

function badMessage(turn: Json, place: number): RowFault {
  return new RowFault("row-messages", `, message ${place} is ${show(turn)}.`, REMEDY);
}
