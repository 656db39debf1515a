import { DataError } from "../base/errors.ts";
import { type ChatTemplate, tokenizeChat } from "./chat.ts";
import type { ChatRow, Row } from "./rows.ts";
import type { TextTokenizer } from "./tokenizer.ts";

/** A row ready to train on. Every token but the first is a target, unless `trained` says which are. */
export interface TokenisedRow {
  readonly ids: Uint32Array;
  /** 1 for each token that is learnt; the first never is. */
  readonly trained?: Uint8Array;
  /** Where it stands in the file, counted from 1. */
  readonly line: number;
}

/** How many tokens of a row are targets. */
export function targetCount({ ids, trained }: TokenisedRow): number {
  if (!trained) return ids.length - 1;
  let count = 0;
  for (let i = 1; i < trained.length; i++) count += trained[i]!;
  return count;
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
  /** Appended to a text where it does not end with it; undefined where the tokenizer has none. */
  readonly eosToken: string | undefined;
  /** In tokens. */
  readonly maxLength: number;
  /** Rows of the model's embedding: no id may reach it. */
  readonly vocabSize: number;
  /** How conversations are written; undefined where the model has no template. */
  readonly template?: ChatTemplate | undefined;
}

/** Tokenises all rows. Throws DataError where no row has a target, or the tokenizer is not the model's. */
export function tokenizeRows(
  rows: readonly Row[],
  tokenizer: TextTokenizer,
  options: TokeniseOptions,
): TokenisedRows {
  const kept: TokenisedRow[] = [];
  let cut = 0;
  let tokens = 0;
  let targets = 0;
  for (const row of rows) {
    const { wasCut, ...tokenised } = tokenizeRow(row, tokenizer, options);
    checkIds(tokenised.ids, options.vocabSize, row.line);
    if (wasCut) cut++;
    const count = targetCount(tokenised);
    if (count <= 0) continue;
    kept.push(tokenised);
    tokens += tokenised.ids.length;
    targets += count;
  }
  if (kept.length === 0) {
    const found = `None of the ${rows.length} rows has a token to predict with max_length ${options.maxLength}.`;
    throw new DataError(
      "no-targets",
      found,
      "Give longer texts or a larger max_length: a row needs two tokens.",
    );
  }
  return { rows: kept, leftOut: rows.length - kept.length, cut, tokens, targets };
}

function tokenizeRow(
  row: Row,
  tokenizer: TextTokenizer,
  options: TokeniseOptions,
): TokenisedRow & { wasCut: boolean } {
  const { line } = row;
  if ("text" in row) return { ...tokenizeText(row.text, tokenizer, options), line };
  if ("prompt" in row) return { ...tokenizeText(row.prompt + row.completion, tokenizer, options), line };
  const { ids, trained } = tokenizeMessages(row, tokenizer, options.template);
  const { maxLength } = options;
  return {
    ids: Uint32Array.from(ids.slice(0, maxLength)),
    trained: trained.slice(0, maxLength),
    wasCut: ids.length > maxLength,
    line,
  };
}

function tokenizeMessages({ messages, line }: ChatRow, tokenizer: TextTokenizer, template?: ChatTemplate) {
  if (!template) {
    throw new DataError(
      "no-chat-template",
      `Line ${line} is a conversation, but the model has no chat template.`,
      'Choose a model that was made for chats, or give the rows as {"text": "…"}.',
    );
  }
  return tokenizeChat(messages, tokenizer, template);
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
