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
    const piece = isAdded(token) ? utf8.encode(token) : spelling === "bytes" ? letters(token) : word(token);
    const end = past(bytes, at, piece, spelling === "words" && token.startsWith("▁"));
    if (end === undefined) return undefined;
    at = end;
    ends[i] = at;
  }
  return pastSpace(bytes, at) === bytes.length ? ends : undefined;
}

/** Where a piece ends that stands at `at`, or behind white space there: some added tokens swallow what is around them. */
function past(bytes: Uint8Array, at: number, piece: Uint8Array, spaced: boolean): number | undefined {
  if (holds(bytes, at, piece)) return at + piece.length;
  // The space that a text is made to begin with.
  if (spaced && holds(bytes, at, piece.subarray(1))) return at + piece.length - 1;
  const from = pastSpace(bytes, at);
  return holds(bytes, from, piece) ? from + piece.length : undefined;
}

function holds(bytes: Uint8Array, at: number, piece: Uint8Array): boolean {
  if (at + piece.length > bytes.length) return false;
  for (let i = 0; i < piece.length; i++) if (bytes[at + i] !== piece[i]) return false;
  return true;
}

function pastSpace(bytes: Uint8Array, from: number): number {
  let at = from;
  while (bytes[at] === 0x20 || (bytes[at]! >= 0x09 && bytes[at]! <= 0x0d)) at++;
  return at;
}

/** ▁ is a space, <0x0A> a byte. */
function word(token: string): Uint8Array {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token)?.[1];
  return byte === undefined
    ? utf8.encode(token.replaceAll("▁", " "))
    : Uint8Array.of(Number.parseInt(byte, 16));
}

function letters(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) bytes[i] = BYTE_OF_LETTER[token.charCodeAt(i)] ?? 0;
  return bytes;
}

/** GPT-2's: a byte that prints is its own letter, the others are the letters from 256 on, in their order. */
const BYTE_OF_LETTER: readonly (number | undefined)[] = (() => {
  const byteOf: (number | undefined)[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const prints = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    byteOf[prints ? byte : next++] = byte;
  }
  return byteOf;
})();
