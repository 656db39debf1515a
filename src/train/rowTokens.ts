/** One row as its tokens, for people to look at before the first step. */
import { DataError } from "../base/errors.ts";
import type { Row } from "../data/rows.ts";
import { type EncodeOptions, encodeRows } from "../data/tokenize.ts";
import type { TextTokenizer } from "../data/tokenizer.ts";

/** How a model reads rows, and what a run learns of them. */
export interface RowReader {
  readonly tokenizer: TextTokenizer;
  /** Tokens that end an answer. */
  readonly stopIds: ReadonlySet<number>;
  readonly options: EncodeOptions & { readonly template: NonNullable<EncodeOptions["template"]> };
}

/** A row before it is cut; all lists but one have an entry for each token. */
export interface RowTokens {
  readonly ids: Uint32Array;
  /**
   * What each of the first few thousand stands for. Of a character that is several tokens, the first has it and the
   * others are empty.
   */
  readonly pieces: readonly string[];
  /** 1 for what is learnt. */
  readonly trained: Uint8Array;
  /** 1 for tokens that stand for no text. */
  readonly special: Uint8Array;
  /** 1 for tokens at which an answer stops. */
  readonly ends: Uint8Array;
}

/** Throws DataError where the row cannot be tokenised. */
export async function rowTokens(row: Row, { tokenizer, stopIds, options }: RowReader): Promise<RowTokens> {
  const [entry] = (await encodeRows([row], tokenizer, options)).entries;
  if (!entry || "code" in entry) {
    const { code = "no-row", message = "There is no such row.", remedy = "" } = entry ?? {};
    throw new DataError(code, message, remedy);
  }
  const { ids, trained = allButFirst(ids.length) } = entry;
  return {
    ids,
    pieces: pieceTexts(ids.subarray(0, MOST_PIECES), (some) => tokenizer.decode(some)),
    // The first token has nothing before it to be foretold from.
    trained: trained.with(0, 0),
    special: flags(ids, tokenizer.specialIds),
    ends: flags(ids, stopIds),
  };
}

function allButFirst(length: number): Uint8Array {
  return new Uint8Array(length).fill(1, 1);
}

function flags(ids: Uint32Array, chosen: ReadonlySet<number>): Uint8Array {
  return Uint8Array.from(ids, (id) => (chosen.has(id) ? 1 : 0));
}

/** More than anybody reads: a row may be a book. */
const MOST_PIECES = 6000;
/** The longest character has four bytes, and each may be a token. */
const MOST_PARTS = 4;

/** What each token adds to the text. Decoded behind the one before it: at the beginning decoders drop a space. */
export function pieceTexts(ids: ArrayLike<number>, decode: (ids: readonly number[]) => string): string[] {
  const pieces: string[] = [];
  let before: number[] = [];
  let parts: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    parts.push(ids[i]!);
    const text = decode([...before, ...parts]).slice(decode(before).length);
    const isWhole = !text.endsWith("\ufffd") || parts.length === MOST_PARTS || i === ids.length - 1;
    if (!isWhole) continue;
    pieces.push(text, ...parts.slice(1).map(() => ""));
    before = [ids[i]!];
    parts = [];
  }
  return pieces;
}
