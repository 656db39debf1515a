/** Text that is whole: UTF-8 without faults, no half of a surrogate pair. What is mended is counted. */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";

export interface Mended {
  /** Halves of surrogate pairs that stood alone and became U+FFFD. */
  surrogates: number;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 as a text, or undefined where it is none. */
export function decodeUtf8(bytes: Uint8Array, mended: Mended): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return decodeSurrogates(bytes, mended);
  }
}

/** Some writers encode half a surrogate pair as if it were a character: ED A0..BF 80..BF. */
function decodeSurrogates(bytes: Uint8Array, mended: Mended): string | undefined {
  const copy = bytes.slice();
  let found = 0;
  for (let i = 0; i + 2 < copy.length; i++) {
    if (copy[i] !== 0xed || (copy[i + 1]! & 0xe0) !== 0xa0 || (copy[i + 2]! & 0xc0) !== 0x80) continue;
    copy.set([0xef, 0xbf, 0xbd], i);
    found++;
  }
  try {
    const text = strict.decode(copy);
    mended.surrogates += found;
    return text;
  } catch {
    return undefined;
  }
}

/** Whether a text in JSON can hold half a surrogate pair: as UTF-8 holds none, only an escape makes one. */
export function needsMending(json: string): boolean {
  return /\\u[dD]/.test(json);
}

/** A row with all its strings whole. */
export function mendStrings(row: JsonObject, mended: Mended): JsonObject {
  return mendJson(row, mended) as JsonObject;
}

function mendJson(value: Json, mended: Mended): Json {
  if (typeof value === "string") return mendText(value, mended);
  if (Array.isArray(value)) return value.map((item) => mendJson(item, mended));
  if (!isJsonObject(value)) return value;
  // As own properties, `__proto__` too.
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [mendText(key, mended), mendJson(item, mended)]),
  );
}

function mendText(text: string, mended: Mended): string {
  if (text.isWellFormed()) return text;
  return text.replace(/\p{Surrogate}/gu, () => {
    mended.surrogates++;
    return "\ufffd";
  });
}
