import { DataError } from "../base/errors.ts";
import type { TextRow } from "./rows.ts";
import type { TextTokenizer } from "./tokenizer.ts";

/** A row ready to train on. Every token but the first is a target. */
export interface TokenisedRow {
  readonly ids: Uint32Array;
  /** Where it stands in the file, counted from 1. */
  readonly line: number;
}

export interface TokenisedRows {
  readonly rows: readonly TokenisedRow[];
  /** Rows with nothing to predict: left out before batches are formed. */
  readonly leftOut: number;
  /** Rows that were longer than maxLength. */
  readonly cut: number;
  readonly tokens: number;
  readonly targets: number;
}

export interface TokeniseOptions {
  /** Appended as text where the row does not end with it; undefined where the tokenizer has none. */
  readonly eosToken: string | undefined;
  /** In tokens. */
  readonly maxLength: number;
  /** Rows of the model's embedding: no id may reach it. */
  readonly vocabSize: number;
}

/** Tokenises all rows. Throws DataError where no row has a target, or the tokenizer is not the model's. */
export function tokenizeRows(
  rows: readonly TextRow[],
  tokenizer: TextTokenizer,
  options: TokeniseOptions,
): TokenisedRows {
  const kept: TokenisedRow[] = [];
  let cut = 0;
  let tokens = 0;
  for (const { text, line } of rows) {
    const { ids, wasCut } = tokenizeText(text, tokenizer, options);
    checkIds(ids, options.vocabSize, line);
    if (wasCut) cut++;
    if (ids.length < 2) continue;
    kept.push({ ids, line });
    tokens += ids.length;
  }
  if (kept.length === 0) {
    const found = `None of the ${rows.length} rows has a token to predict with max_length ${options.maxLength}.`;
    throw new DataError(
      "no-targets",
      found,
      "Give longer texts or a larger max_length: a row needs two tokens.",
    );
  }
  return { rows: kept, leftOut: rows.length - kept.length, cut, tokens, targets: tokens - kept.length };
}

export function tokenizeText(
  text: string,
  tokenizer: TextTokenizer,
  { eosToken, maxLength }: Pick<TokeniseOptions, "eosToken" | "maxLength">,
): { ids: Uint32Array; wasCut: boolean } {
  const whole = eosToken === undefined || text.endsWith(eosToken) ? text : text + eosToken;
  const ids = tokenizer.encode(whole);
  return { ids: Uint32Array.from(ids.slice(0, maxLength)), wasCut: ids.length > maxLength };
}

function checkIds(ids: Uint32Array, vocabSize: number, line: number): void {
  const stranger = ids.find((id) => id >= vocabSize);
  if (stranger === undefined) return;
  const found = `Line ${line} holds token ${stranger}, the model knows ${vocabSize} tokens.`;
  throw new DataError("token-id", found, "Is the tokenizer from another model?");
}
