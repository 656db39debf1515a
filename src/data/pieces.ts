/** Where each token of a text ends, found from the tokens themselves: the tokenizer's library does not tell. */
import { isJsonObject, type JsonObject } from "../base/json.ts";

/** How a vocabulary writes bytes: "bytes" as GPT-2 does, a letter for each; "words" with ▁ for a space. */
export type Spelling = "bytes" | "words";

/** Undefined where a tokenizer spells in a way that is not known here. */
export function spellingOf(tokenizer: JsonObject): Spelling | undefined {
  const parts = ["normalizer", "pre_tokenizer", "decoder"].map((key) => tokenizer[key]).filter(isJsonObject);
  const text = JSON.stringify(parts);
  if (text.includes('"ByteLevel"')) return "bytes";
  return text.includes("▁") ? "words" : undefined;
}

const utf8 = new TextEncoder();

/**
 * Where each token ends, in bytes of UTF-8. Undefined where the tokens do not spell the text: a normalizer changed it,
 * or a character is unknown.
 */
export function pieceEnds(
  text: string,
  tokens: readonly string[],
  spelling: Spelling | undefined,
  isAdded: (token: string) => boolean,
): Uint32Array | undefined {
  if (spelling === undefined) return undefined;
  const bytes = utf8.encode(text);
  const ends = new Uint32Array(tokens.length);
  let at = 0;
  for (const [i, token] of tokens.entries()) {
    const added = isAdded(token);
    if (spelling === "bytes" && !added) at += token.length;
    else {
      const end = added ? pastAdded(bytes, at, utf8.encode(token)) : pastWord(bytes, at, token);
      if (end === undefined) return undefined;
      at = end;
    }
    ends[i] = at;
  }
  // An added token may swallow the white space behind the last of them.
  return isBlank(bytes, at) ? ends : undefined;
}

function holds(bytes: Uint8Array, at: number, piece: Uint8Array): boolean {
  return at + piece.length <= bytes.length && piece.every((byte, i) => bytes[at + i] === byte);
}

/** Some added tokens swallow the white space before or behind them. */
function pastAdded(bytes: Uint8Array, from: number, piece: Uint8Array): number | undefined {
  for (let at = from; at <= bytes.length; at++) {
    if (holds(bytes, at, piece)) return at + piece.length;
    if (!isSpaceByte(bytes[at])) return undefined;
  }
  return undefined;
}

function pastWord(bytes: Uint8Array, at: number, token: string): number | undefined {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token)?.[1];
  if (byte !== undefined) return bytes[at] === Number.parseInt(byte, 16) ? at + 1 : undefined;
  const piece = utf8.encode(token.replaceAll("▁", " "));
  if (holds(bytes, at, piece)) return at + piece.length;
  // The space that a text is made to begin with.
  const bare = piece.subarray(1);
  return token.startsWith("▁") && holds(bytes, at, bare) ? at + bare.length : undefined;
}

function isBlank(bytes: Uint8Array, from: number): boolean {
  return from <= bytes.length && bytes.subarray(from).every(isSpaceByte);
}

function isSpaceByte(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}
