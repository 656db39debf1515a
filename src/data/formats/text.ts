/** Plain text: rows of one column, "text". */
import { RowFault } from "../faults.ts";
import { decodeUtf8 } from "../unicode.ts";
import { NOT_UTF8, TOO_LONG, textLines } from "./lines.ts";
import { MAX_ROW_BYTES, type RawRecord, type Reading, wholeText } from "./reading.ts";

/** The whole file is one row. */
export async function* readWholeText(reading: Reading): AsyncGenerator<RawRecord, void, void> {
  const { faults, mended } = reading;
  const bytes = await wholeText(reading, MAX_ROW_BYTES, "Read it by line or by blank line instead.");
  const text = decodeUtf8(bytes, mended);
  if (text === undefined) faults.add(1, NOT_UTF8);
  else if (text.trim() === "") faults.add(1, new RowFault("rows-empty", " holds no text."));
  else yield { values: { text }, line: 1 };
}

/** Each line that is not blank is a row. */
export async function* readTextLines(reading: Reading): AsyncGenerator<RawRecord, void, void> {
  for await (const { text, line } of textLines(reading)) {
    if (text.trim() !== "") yield { values: { text }, line };
  }
}

/** What stands between blank lines is a row, its own line ends kept. */
export async function* readParagraphs(reading: Reading): AsyncGenerator<RawRecord, void, void> {
  let lines: string[] = [];
  let first = 0;
  let length = 0;
  const take = (): RawRecord | undefined => {
    const paragraph = lines.length > 0 ? { values: { text: lines.join("\n") }, line: first } : undefined;
    lines = [];
    if (length <= MAX_ROW_BYTES) return paragraph;
    reading.faults.add(first, TOO_LONG);
    return undefined;
  };
  for await (const { text, line } of textLines(reading)) {
    if (text.trim() === "") {
      const paragraph = take();
      if (paragraph) yield paragraph;
      continue;
    }
    if (lines.length === 0) [first, length] = [line, 0];
    length += text.length + 1;
    // Its first line stays, as the place of the fault.
    if (length <= MAX_ROW_BYTES || lines.length === 0) lines.push(text);
  }
  const paragraph = take();
  if (paragraph) yield paragraph;
}
