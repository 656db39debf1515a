/** From the characters of a row that are learnt to its tokens. */
import type { EncodedText, TextTokenizer } from "./tokenizer.ts";

const utf8 = new TextEncoder();

/**
 * 1 for each token that holds something of a learnt part, which are pairs of places in the text, in UTF-16 units. A
 * token that reaches over a part's border is learnt: a piece of the answer is in it.
 */
export function learntTokens(
  text: string,
  { ids, ends }: EncodedText,
  learnt: readonly number[],
  tokenizer: Pick<TextTokenizer, "encodeRendered">,
): Uint8Array {
  const trained = new Uint8Array(ids.length);
  for (let i = 0; i + 1 < learnt.length; i += 2) {
    const [start, end] = [learnt[i]!, learnt[i + 1]!];
    if (end <= start) continue;
    if (ends) markBetween(trained, ends, bytesBefore(text, start), bytesBefore(text, end));
    else {
      const from = sharedLength(ids, tokenizer.encodeRendered(text.slice(0, start)));
      const whole = tokenizer.encodeRendered(text.slice(0, end));
      const to = sharedLength(ids, whole);
      trained.fill(1, from, to < whole.length ? to + 1 : to);
    }
  }
  return trained;
}

/**
 * The same as Transformers' return_assistant_tokens_mask takes it: from the token that holds the first character to
 * the first that holds the last one. They differ where a character is several tokens.
 */
export function markedTokens(
  text: string,
  encoded: EncodedText,
  generated: readonly number[],
  tokenizer: Pick<TextTokenizer, "encodeRendered">,
): Uint8Array {
  const { ids, ends } = encoded;
  if (!ends) return learntTokens(text, encoded, generated, tokenizer);
  const trained = new Uint8Array(ids.length);
  for (let i = 0; i + 1 < generated.length; i += 2) {
    const [start, end] = [generated[i]!, generated[i + 1]!];
    const last = lastCharacter(text, end);
    const to = firstAfter(ends, bytesBefore(text, last));
    trained.fill(1, firstAfter(ends, bytesBefore(text, start)), to + 1);
  }
  return trained;
}

/** How many ids two lists begin with in common. */
export function sharedLength(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const most = Math.min(a.length, b.length);
  let shared = 0;
  while (shared < most && a[shared] === b[shared]) shared++;
  return shared;
}

function markBetween(trained: Uint8Array, ends: Uint32Array, start: number, end: number): void {
  for (let token = firstAfter(ends, start); token < ends.length; token++) {
    if ((token === 0 ? 0 : ends[token - 1]!) >= end) return;
    trained[token] = 1;
  }
}

/** The first token that ends after this byte: the one that holds it. */
function firstAfter(ends: Uint32Array, byte: number): number {
  let [low, high] = [0, ends.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle]! > byte) high = middle;
    else low = middle + 1;
  }
  return low;
}

function bytesBefore(text: string, place: number): number {
  return utf8.encode(text.slice(0, place)).length;
}

/** Where the character before this place begins. */
function lastCharacter(text: string, end: number): number {
  const code = text.charCodeAt(end - 1);
  return code >= 0xdc00 && code <= 0xdfff ? end - 2 : end - 1;
}
