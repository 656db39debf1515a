import type { ByteSource } from "../base/bytes.ts";
import { DataError } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject, show } from "../base/json.ts";

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
  /** Halves of surrogate pairs that stood alone and became U+FFFD. */
  readonly replacedSurrogates: number;
}

export type RowFormat = "jsonl";

const MAX_LINE_BYTES = 8_000_000;
const CHUNK_BYTES = 4 * 1024 * 1024;
const WANTED =
  'Graft reads JSONL: one object such as {"text": "…"} or {"messages": [{"role": "user", "content": "…"}, …]} per line.';
const NEWLINE = 0x0a;
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Which format a file's name stands for. Throws DataError for those that are not read. */
export function rowFormat(fileName: string): RowFormat {
  const extension = /\.[^.]*$/.exec(fileName.toLowerCase())?.[0] ?? "";
  if (extension === ".jsonl" || extension === ".ndjson") return "jsonl";
  const remedies: Record<string, string> = {
    ".txt": 'Make each text a line {"text": "…"} of a .jsonl file.',
    ".json": "Write one object per line, without the outer list, and call the file .jsonl.",
  };
  const found = `${fileName} is ${extension ? `a ${extension} file` : "a file without extension"}.`;
  throw new DataError("row-format", `${found} ${WANTED}`, remedies[extension] ?? "Convert it to .jsonl.");
}

/** Reads rows line by line; the file is never in memory as a whole. Throws DataError that names the line. */
export async function parseRows(source: ByteSource, options: { format: RowFormat }): Promise<ParsedRows> {
  options.format satisfies "jsonl";
  const rows: Row[] = [];
  const replaced = { surrogates: 0 };
  let line = 0;
  for await (const bytes of lines(source)) {
    line++;
    const where = `${source.name}, line ${line}`;
    const json = decodeLine(bytes, where, replaced);
    if (json.trim() === "") continue;
    const row = parseObject(json, where);
    if (Object.hasOwn(row, "messages")) {
      const messages = messagesOf(row.messages, where);
      rows.push({
        messages: messages.map(({ role, content }) => ({ role, content: wellFormed(content, replaced) })),
        line,
      });
    } else rows.push({ text: wellFormed(textOf(row, where), replaced), line });
  }
  if (rows.length === 0) throw new DataError("rows-empty", `${source.name} has no row.`, WANTED);
  return { rows, replacedSurrogates: replaced.surrogates };
}

async function* lines(source: ByteSource): AsyncGenerator<Uint8Array> {
  let rest = new Uint8Array(0);
  let line = 1;
  for (let start = 0; start < source.size; start += CHUNK_BYTES) {
    let chunk = await source.read(start, Math.min(start + CHUNK_BYTES, source.size));
    if (start === 0) chunk = withoutMark(chunk, source.name);
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const bytes = join(rest, chunk.subarray(from, end));
      checkLength(bytes.length, source.name, line++);
      yield bytes;
      rest = new Uint8Array(0);
      from = end + 1;
    }
    rest = join(rest, chunk.subarray(from));
    // Before the line's end is known: a file of one endless line must not fill the memory.
    checkLength(rest.length, source.name, line);
  }
  if (rest.length > 0) yield rest;
}

function checkLength(bytes: number, name: string, line: number): void {
  if (bytes <= MAX_LINE_BYTES) return;
  const found = `${name}, line ${line} is longer than ${MAX_LINE_BYTES / 1e6} MB.`;
  throw new DataError("line-too-long", found, "Split the text into several rows.");
}

function withoutMark(bytes: Uint8Array, name: string): Uint8Array {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return bytes.subarray(3);
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw new DataError("not-utf8", `${name} is UTF-16, expected UTF-8.`, "Save it as UTF-8.");
  }
  return bytes;
}

function decodeLine(bytes: Uint8Array, where: string, replaced: { surrogates: number }): string {
  try {
    return strict.decode(bytes);
  } catch {
    // Some writers encode half a surrogate pair as if it were a character: ED A0..BF 80..BF.
    const mended = bytes.slice();
    let found = 0;
    for (let i = 0; i + 2 < mended.length; i++) {
      if (mended[i] !== 0xed || (mended[i + 1]! & 0xe0) !== 0xa0 || (mended[i + 2]! & 0xc0) !== 0x80)
        continue;
      mended.set([0xef, 0xbf, 0xbd], i);
      found++;
    }
    try {
      const text = strict.decode(mended);
      replaced.surrogates += found;
      return text;
    } catch {
      throw new DataError("not-utf8", `${where} is not UTF-8.`, "Save the file as UTF-8.");
    }
  }
}

function parseObject(json: string, where: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new DataError("row-json", `${where} is not JSON: ${show(json.trim())}.`, WANTED);
  }
  if (isJsonObject(value)) return value;
  throw new DataError("row-shape", `${where} is ${show(value)}, not an object.`, WANTED);
}

function textOf(row: JsonObject, where: string): string {
  if (typeof row.text === "string") return row.text;
  if (Object.hasOwn(row, "text")) {
    throw new DataError("row-text", `${where} has "text": ${show(row.text)}, expected a string.`);
  }
  const keys = Object.keys(row);
  const found = keys.length === 0 ? "no key at all" : `the keys ${keys.slice(0, 6).map(show).join(", ")}`;
  const kind = shapeName(row);
  const remedy = 'Put the whole text of each row into one key "text", or its turns into "messages".';
  throw new DataError("row-shape", `${where} has ${found}${kind ? ` (${kind})` : ""}. ${WANTED}`, remedy);
}

function messagesOf(value: unknown, where: string): Message[] {
  const remedy = 'A message is {"role": "user" or "assistant" or "system", "content": "…"}.';
  if (!Array.isArray(value) || value.length === 0) {
    throw new DataError("row-messages", `${where} has "messages": ${show(value)}, expected a list.`, remedy);
  }
  const messages = value.map((message: unknown, i) => {
    if (isJsonObject(message)) {
      const { role, content } = message;
      if (typeof role === "string" && typeof content === "string") return { role, content };
    }
    throw new DataError("row-messages", `${where}, message ${i + 1} is ${show(message)}.`, remedy);
  });
  if (messages.some(({ role }) => role === "assistant")) return messages;
  throw new DataError(
    "row-messages",
    `${where} has no message of the assistant, so nothing to learn.`,
    remedy,
  );
}

/** What people call a row of this shape. */
function shapeName(row: JsonObject): string | undefined {
  if (Object.hasOwn(row, "conversations")) return "a ShareGPT conversation";
  if (Object.hasOwn(row, "prompt") && Object.hasOwn(row, "completion")) return "prompt and completion";
  if (Object.hasOwn(row, "instruction")) return "instruction and output";
  if (Object.hasOwn(row, "chosen") && Object.hasOwn(row, "rejected")) return "a preference pair";
  return undefined;
}

function wellFormed(text: string, replaced: { surrogates: number }): string {
  return text.replace(/\p{Surrogate}/gu, () => {
    replaced.surrogates++;
    return "\ufffd";
  });
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
