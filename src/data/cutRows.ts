/** Tokenised rows cut to max_length: what a run trains on. */
import { DataError } from "../base/errors.ts";
import { keptPart, type RowLengths, type TruncationMode } from "./cuts.ts";
import type { EncodedRows } from "./encodedRows.ts";
import type { Fault } from "./faults.ts";
import { type TokenisedRow, targetCount } from "./tokenisedRow.ts";

export interface Cut {
  /** In tokens. */
  readonly maxLength: number;
  readonly truncationMode?: TruncationMode;
}

export interface TokenisedRows {
  readonly rows: readonly TokenisedRow[];
  /** Rows that cannot be trained on, left out before batches are formed, and why, in the order of the file. */
  readonly leftOut: number;
  readonly faults: readonly Fault[];
  /** Rows that were longer than maxLength. */
  readonly cut: number;
  readonly tokens: number;
  readonly targets: number;
  /** Of all rows that could be tokenised, before they were cut. */
  readonly lengths: RowLengths;
  /** What people should know before they train on these rows. */
  readonly warnings: readonly string[];
}

/**
 * Rows cut to a length, those that then teach nothing left out. Throws DataError where none is left, or where the
 * template writes earlier turns anew so that what is learnt cannot be told.
 */
export function cutRows({ entries, lengths, warnings }: EncodedRows, cut: Cut): TokenisedRows {
  const rows: TokenisedRow[] = [];
  const faults: Fault[] = [];
  const counts = { cut: 0, tokens: 0, targets: 0 };
  for (const entry of entries) {
    if ("code" in entry) {
      faults.push(entry);
      continue;
    }
    if (entry.ids.length > cut.maxLength) counts.cut++;
    const row = cutRow(entry, cut);
    const targets = targetCount(row);
    if (targets <= 0) {
      faults.push(nothingLearnt(entry, cut));
      continue;
    }
    rows.push(row);
    counts.tokens += row.ids.length;
    counts.targets += targets;
  }
  const rewritten = faults.filter(({ code }) => code === "chat-prefix");
  if (rewritten[0]) throw rewrittenTurns(rewritten[0], rewritten.length);
  if (rows.length === 0) throw nothingLeft(faults, cut);
  return { rows, leftOut: faults.length, faults, ...counts, lengths, warnings };
}

function cutRow(row: TokenisedRow, { maxLength, truncationMode = "keep_start" }: Cut): TokenisedRow {
  const { ids, trained, line } = row;
  if (ids.length <= maxLength) return row;
  return {
    ids: keptPart(ids, maxLength, truncationMode),
    ...(trained && { trained: keptPart(trained, maxLength, truncationMode) }),
    line,
  };
}

function nothingLeft(faults: readonly Fault[], { maxLength }: Cut): DataError {
  const found = `None of the ${faults.length} rows has a token to predict with max_length ${maxLength}.`;
  const [first] = faults;
  if (!first || first.code === "too-short") {
    return new DataError(
      "no-targets",
      found,
      "Give longer texts or a larger max_length: a row needs two tokens.",
    );
  }
  return new DataError("no-targets", `${found} The first: ${first.message}`, first.remedy);
}

/** `row` is whole: it says whether there ever was something. */
function nothingLearnt(
  { ids: { length }, trained, line }: TokenisedRow,
  { maxLength, truncationMode = "keep_start" }: Cut,
): Fault {
  if (length < 2) {
    return {
      line,
      code: "too-short",
      message: `Row ${line} has ${length === 1 ? "one token" : "no token"}, so none can be predicted.`,
      remedy: "",
    };
  }
  if (trained && !trained.includes(1, 1)) {
    return { line, code: "nothing-learnt", message: `Row ${line} has nothing that is learnt.`, remedy: "" };
  }
  return {
    line,
    code: "cut-away",
    message: `Row ${line}: max_length ${maxLength} with ${truncationMode} leaves nothing that is learnt of its ${length} tokens.`,
    remedy: "Choose a larger max_length or the other truncation_mode.",
  };
}

function rewrittenTurns(first: Fault, count: number): DataError {
  const others = count > 1 ? ` So it is with ${count} rows.` : "";
  return new DataError(first.code, first.message + others, first.remedy);
}
