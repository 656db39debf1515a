import type { ByteSource } from "./bytes.ts";
import { FormatError } from "./errors.ts";
import { isJsonObject, type JsonObject } from "./json.ts";

const MAX_BYTES = 100_000_000;
/** Deeper than any file that is read so, and no depth at which a function that calls itself runs out of stack. */
const MAX_DEPTH = 64;

/**
 * The whole of a small text file as a JSON object. Throws FormatError: too large, nested too deep, not UTF-8, not a
 * JSON object.
 */
export async function readJsonObject(source: ByteSource, mostBytes: number = MAX_BYTES): Promise<JsonObject> {
  if (source.size > mostBytes) {
    const found = `${source.name} has ${source.size} bytes, ${mostBytes} are allowed.`;
    throw new FormatError("json-too-large", found, "Is it the right file?");
  }
  const bytes = await source.read(0, source.size);
  if (deeperThan(MAX_DEPTH, bytes)) {
    const found = `${source.name} nests lists and objects deeper than ${MAX_DEPTH}.`;
    throw new FormatError("json-depth", found, "No tool writes such a file: take another.");
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (thrown) {
    const why = thrown instanceof SyntaxError ? `is not JSON: ${thrown.message}` : "is not UTF-8 text";
    throw new FormatError("json", `${source.name} ${why}.`, "Mend it, or download the file again.");
  }
  if (isJsonObject(value)) return value;
  throw new FormatError("json", `${source.name} does not hold a JSON object.`, "Is it the right file?");
}

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [...'"\\[]{}'].map((char) =>
  char.charCodeAt(0),
);

/** Looked at before the text is parsed, which would build whatever it describes. Brackets within strings do not count. */
function deeperThan(most: number, bytes: Uint8Array): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) inString = !inString;
    else if (inString) at += byte === BACKSLASH ? 1 : 0;
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) depth++;
    else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
    if (depth > most) return true;
  }
  return false;
}
