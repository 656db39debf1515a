/** Tokenised rows together: how long they are, and what people are told of them. */
import { plural } from "../base/words.ts";
import type { ChatTemplate } from "./chat.ts";
import type { ChatNote } from "./conversation.ts";
import type { RowLengths } from "./cuts.ts";
import type { Fault } from "./faults.ts";
import type { TokenisedRow } from "./tokenisedRow.ts";

/** One row, tokenised or not. */
export interface EncodedRow {
  /** A fault where it could not be tokenised. */
  readonly entry: TokenisedRow | Fault;
  readonly isChat: boolean;
  readonly notes: readonly ChatNote[];
}

/** Rows as token ids before any of them is cut: what a run's max_length does to them is asked again and again. */
export interface EncodedRows {
  /** In the order of the file; a fault where a row could not be tokenised. */
  readonly entries: readonly (TokenisedRow | Fault)[];
  /** Of those that could be. */
  readonly lengths: RowLengths;
  readonly warnings: readonly string[];
}

const NOTES: Readonly<Record<ChatNote, string>> = {
  "no-end-token":
    "The chat template leaves the token that ends an answer out of what is learnt, so the model may not learn to stop.",
  "other-opening":
    "The chat template opens an answer otherwise than it asks for one: what is learnt begins where the two part.",
};

const DEFAULT_TEMPLATE =
  'The model has no chat template: conversations are written plainly, as "User: …" and "Assistant: …" with the end ' +
  "token behind each answer. Whoever uses the adapter must write them so too.";

/** What is to be said of rows together. */
export function gatherRows(encoded: readonly EncodedRow[], template: ChatTemplate | undefined): EncodedRows {
  return {
    entries: encoded.map(({ entry }) => entry),
    lengths: lengthsOf(encoded),
    warnings: warningsOf(encoded, template),
  };
}

function lengthsOf(encoded: readonly EncodedRow[]): RowLengths {
  const measured = encoded.flatMap(({ entry }) => ("ids" in entry ? [entry] : []));
  const lengths = {
    length: Uint32Array.from(measured, ({ ids }) => ids.length),
    firstLearnt: new Uint32Array(measured.length),
    endLearnt: new Uint32Array(measured.length),
  };
  for (const [at, { ids, trained }] of measured.entries()) {
    const first = trained ? trained.indexOf(1, 1) : 1;
    if (first < 0 || first >= ids.length) continue;
    lengths.firstLearnt[at] = first;
    lengths.endLearnt[at] = trained ? trained.lastIndexOf(1) + 1 : ids.length;
  }
  return lengths;
}

function warningsOf(encoded: readonly EncodedRow[], template: ChatTemplate | undefined): string[] {
  const linesOf = new Map<ChatNote, number[]>();
  for (const { entry, notes } of encoded) {
    for (const note of notes) {
      const lines = linesOf.get(note);
      if (lines) lines.push(entry.line);
      else linesOf.set(note, [entry.line]);
    }
  }
  const said = [...linesOf].map(([note, lines]) => `${NOTES[note]} (${countOf(lines)})`);
  const isWritten = encoded.some(({ entry, isChat }) => isChat && "ids" in entry);
  if (isWritten && template?.isDefault) said.unshift(DEFAULT_TEMPLATE);
  const faults = encoded.flatMap(({ entry }) => ("code" in entry ? [entry] : []));
  if (faults[0]) {
    const lines = faults.map(({ line }) => line);
    said.push(`${countOf(lines)} left out: ${faults[0].message} ${faults[0].remedy}`);
  }
  return said;
}

/** "3 rows: 4, 17, 20". */
function countOf(lines: readonly number[]): string {
  const shown = lines.slice(0, 3).join(", ");
  return `${lines.length} ${plural(lines.length, "row")}: ${shown}${lines.length > 3 ? ", …" : ""}`;
}
