import { RowFault } from "../faults.ts";
import { decodeUtf8 } from "../unicode.ts";
import { MAX_ROW_BYTES, type Reading, textChunks } from "./reading.ts";

export interface Line {
  readonly text: string;
  /** Counted from 1. */
  readonly line: number;
}

const NEWLINE = 0x0a;
const NOTHING = new Uint8Array(0);

/** The lines of a text, without their ends. One that is too long or not UTF-8 is a fault; it is not kept in memory. */
export async function* textLines(reading: Reading): AsyncGenerator<Line, void, void> {
  const { faults, mended } = reading;
  let rest: Uint8Array = NOTHING;
  let line = 1;
  let isTooLong = false;
  const take = (bytes: Uint8Array): string | undefined => {
    if (isTooLong || bytes.length > MAX_ROW_BYTES) {
      faults.add(line, TOO_LONG);
      return undefined;
    }
    const text = decodeUtf8(bytes, mended);
    if (text === undefined) faults.add(line, NOT_UTF8);
    return text?.endsWith("\r") ? text.slice(0, -1) : text;
  };
  for await (const chunk of textChunks(reading)) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const text = take(join(rest, chunk.subarray(from, end)));
      if (text !== undefined) yield { text, line };
      rest = NOTHING;
      isTooLong = false;
      from = end + 1;
      line++;
    }
    rest = join(rest, chunk.subarray(from));
    // Before the line's end is known: a file of one endless line must not fill the memory.
    if (rest.length > MAX_ROW_BYTES) {
      isTooLong = true;
      rest = NOTHING;
    }
  }
  if (rest.length === 0 && !isTooLong) return;
  const text = take(rest);
  if (text !== undefined) yield { text, line };
}

export const TOO_LONG = new RowFault(
  "line-too-long",
  ` is longer than ${MAX_ROW_BYTES / 1e6} MB.`,
  "Split the text into several rows.",
);
export const NOT_UTF8 = new RowFault("not-utf8", " is not UTF-8.", "Save the file as UTF-8.");

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
