import { DataError } from "../../base/errors.ts";
import { isJsonObject, type Json, type JsonObject, show } from "../../base/json.ts";
import { RowFault } from "../faults.ts";
import { decodeUtf8, mendStrings, needsMending } from "../unicode.ts";
import { textLines } from "./lines.ts";
import { type RawRecord, type Reading, wholeText } from "./reading.ts";

const WANTED =
  'Each line of JSONL is one object, such as {"text": "…"} or {"messages": [{"role": "user", "content": "…"}, …]}.';

/** JSON Lines: an object per line, blank lines skipped. */
export async function* readJsonLines(reading: Reading): AsyncGenerator<RawRecord, void, void> {
  const { faults, mended } = reading;
  for await (const { text, line } of textLines(reading)) {
    if (text.trim() === "") continue;
    const values = faults.catch(line, () => parseObject(text));
    if (values) yield { values: needsMending(text) ? mendStrings(values, mended) : values, line };
  }
}

function parseObject(text: string): JsonObject {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    throw new RowFault("row-json", ` is not JSON: ${show(text.trim())}.`, WANTED);
  }
  return objectOf(value, WANTED);
}

function objectOf(value: Json, wanted: string): JsonObject {
  checkDepth(value);
  if (isJsonObject(value)) return value;
  throw new RowFault("row-shape", ` is ${show(value)}, not an object.`, wanted);
}

/** Deeper, and whoever walks through a row by recursion runs out of stack. */
const MAX_DEPTH = 64;

/** Throws RowFault where lists and objects are nested too deeply. */
export function checkDepth(value: Json, room = MAX_DEPTH): void {
  if (typeof value !== "object" || value === null) return;
  if (room === 0) throw new RowFault("row-depth", ` is nested deeper than ${MAX_DEPTH} levels.`);
  for (const item of Array.isArray(value) ? value : Object.values(value)) checkDepth(item, room - 1);
}

/** A JavaScript engine's longest text is not much more. */
const MAX_BYTES = 500_000_000;
/** An object that has one of these is itself a row, though its value is a list. */
const CONVERSATION_KEYS = ["messages", "conversations", "prompt"];

/** One JSON document: a list of rows, an object that holds one such list, or a single conversation. */
export async function* readJson(reading: Reading): AsyncGenerator<RawRecord, void, void> {
  const { source, faults, mended } = reading;
  const bytes = await wholeText(reading, MAX_BYTES, "Write one object per line, and call the file .jsonl.");
  const text = decodeUtf8(bytes, mended);
  if (text === undefined)
    throw new DataError("not-utf8", `${source.name} is not UTF-8.`, "Save it as UTF-8.");
  if (text.trim() === "") return;
  const rows = listOf(parseWhole(text, source.name), source.name);
  const mend = needsMending(text);
  for (const [i, row] of rows.entries()) {
    const wanted = 'Each item of the list is one object, such as {"text": "…"}.';
    const values = faults.catch(i + 1, () => objectOf(row, wanted));
    if (values) yield { values: mend ? mendStrings(values, mended) : values, line: i + 1 };
  }
}

function parseWhole(text: string, name: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (thrown) {
    const why = (thrown as Error).message;
    throw new DataError(
      "json",
      `${name} is not JSON: ${why}.`,
      "Mend the file. A file of one object per line is JSONL.",
    );
  }
}

function listOf(document: Json, name: string): Json[] {
  if (Array.isArray(document)) return document;
  if (!isJsonObject(document)) {
    throw new DataError(
      "json-shape",
      `${name} holds ${show(document)}, expected a list of rows.`,
      'Write [{"text": "…"}, …].',
    );
  }
  if (CONVERSATION_KEYS.some((key) => Object.hasOwn(document, key))) return [document];
  const lists = Object.entries(document).filter(
    ([, value]) => Array.isArray(value) && isJsonObject(value[0]),
  );
  const [only, ...others] = lists;
  if (only && others.length === 0) return only[1] as Json[];
  // An object without a list may be a file's only row.
  if (!only) return [document];
  const names = lists.map(([key]) => show(key)).join(", ");
  const found = `${name} is an object with several lists of rows: ${names}.`;
  throw new DataError("json-shape", found, "Keep one of them, as a list of its own.");
}
