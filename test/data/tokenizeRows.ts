import { type Cut, cutRows, type TokenisedRows } from "../../src/data/cutRows.ts";
import type { Row } from "../../src/data/rows.ts";
import { type EncodeOptions, encodeRows } from "../../src/data/tokenize.ts";
import type { TextTokenizer } from "../../src/data/tokenizer.ts";

export interface TokeniseOptions extends EncodeOptions, Cut {}

/** Rows as a run trains on them: tokenised and cut. */
export async function tokenizeRows(
  rows: readonly Row[],
  tokenizer: TextTokenizer,
  options: TokeniseOptions,
): Promise<TokenisedRows> {
  return cutRows(await encodeRows(rows, tokenizer, options), options);
}
