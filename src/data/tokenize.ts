/** Rows to token ids, and which of them are learnt. */
import { DataError } from "../base/errors.ts";
import type { ChatTemplate } from "./chat.ts";
import type { ChatAnswer, ChatNote, ChatRequest, RenderedChat } from "./conversation.ts";
import { keptPart, type RowLengths, type TruncationMode } from "./cuts.ts";
import type { Fault } from "./faults.ts";
import { learntTokens, markedTokens, sharedLength } from "./masks.ts";
import type { ChatRow, PromptRow, Row } from "./rows.ts";
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

/** What is learnt; the keys are the run file's, and said there. */
export interface Learning {
  readonly completion_only_loss: boolean | null;
  readonly assistant_only_loss: boolean;
  readonly last_turn_only: boolean;
}

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

export interface Cut {
  /** In tokens. */
  readonly maxLength: number;
  readonly truncationMode?: TruncationMode;
}

export interface EncodeOptions extends Partial<Learning> {
  /** Appended to a text or a completion where it does not end with it; undefined where the tokenizer has none. */
  readonly eosToken: string | undefined;
  /** Rows of the model's embedding: no id may reach it. */
  readonly vocabSize: number;
  /** How conversations are written. */
  readonly template?: ChatTemplate | undefined;
  /** How many rows are done; asked about every tenth of a second. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Rejects with its reason when aborted. */
  readonly signal?: AbortSignal;
}

export interface TokeniseOptions extends EncodeOptions, Cut {}

/** Rows that go to the templates' worker and back together. */
const BATCH_ROWS = 256;
/** How long others may be kept waiting. */
const TURN_MS = 50;

/** Tokenises all rows and cuts them. Throws what `encodeEach` and `cutRows` throw. */
export async function tokenizeRows(
  rows: readonly Row[],
  tokenizer: TextTokenizer,
  options: TokeniseOptions,
): Promise<TokenisedRows> {
  return cutRows(await encodeRows(rows, tokenizer, options), options);
}

/** Tokenises all rows. Throws what `encodeEach` throws. */
export async function encodeRows(
  rows: readonly Row[],
  tokenizer: TextTokenizer,
  options: EncodeOptions,
): Promise<EncodedRows> {
  return gatherRows(await encodeEach(rows, tokenizer, options), options);
}

/**
 * Rows one by one, in their order. Throws DataError where the tokenizer is not the model's or the template does not end,
 * FormatError where the template is broken.
 */
export async function encodeEach(
  rows: readonly Row[],
  tokenizer: TextTokenizer,
  options: EncodeOptions,
): Promise<EncodedRow[]> {
  const encoded: EncodedRow[] = [];
  let since = performance.now();
  const batchAt = (start: number) => rows.slice(start, start + BATCH_ROWS);
  let rendering = renderChats(batchAt(0), options);
  for (let start = 0; start < rows.length; start += BATCH_ROWS) {
    const chats = await rendering;
    // The templates' worker goes on with the next rows while these are tokenised.
    rendering = renderChats(batchAt(start + BATCH_ROWS), options);
    // Should these fail, nobody waits for those.
    rendering.catch(() => {});
    for (const row of batchAt(start)) {
      encoded.push(encodeRow(row, chats.get(row), tokenizer, options));
      if (performance.now() - since < TURN_MS) continue;
      options.onProgress?.(encoded.length, rows.length);
      await new Promise((resolve) => setTimeout(resolve));
      options.signal?.throwIfAborted();
      since = performance.now();
    }
  }
  return encoded;
}

function encodeRow(
  row: Row,
  answer: ChatAnswer | undefined,
  tokenizer: TextTokenizer,
  options: EncodeOptions,
): EncodedRow {
  const { line } = row;
  if (answer && "code" in answer) return { entry: refused(line, answer, options), isChat: true, notes: [] };
  const { ids, trained } = answer ? tokenizeChat(answer, tokenizer) : tokenizePlain(row, tokenizer, options);
  const all = Uint32Array.from(ids);
  checkIds(all, options.vocabSize, line);
  const entry = { ids: all, ...(trained && { trained }), line };
  return { entry, isChat: answer !== undefined, notes: answer?.notes ?? [] };
}

function refused(
  line: number,
  { code, message }: Exclude<ChatAnswer, RenderedChat>,
  { last_turn_only }: EncodeOptions,
): Fault {
  const remedy = REMEDIES[code === "chat-prefix" && last_turn_only ? "chat-time" : code];
  const fault = { line, code, message: `Row ${line}: ${message}`, remedy };
  // A template that does not end will not end with the next row either.
  if (code === "chat-time") throw new DataError(code, fault.message, fault.remedy);
  return fault;
}

/** Ids of a whole row, and which are learnt; all but the first where it does not say. */
interface Tokens {
  readonly ids: readonly number[];
  readonly trained?: Uint8Array | undefined;
}

async function renderChats(
  rows: readonly Row[],
  { template, ...options }: EncodeOptions,
): Promise<Map<Row, ChatAnswer>> {
  const chats = rows.filter((row) => "messages" in row);
  if (chats.length === 0) return new Map();
  if (!template) throw new Error("Rows of conversations need a chat template.");
  const answers = await template.render(chats.map((row) => requestOf(row, options)));
  return new Map(chats.map((row, i) => [row, answers[i]!]));
}

function requestOf(
  { messages, tools, promptTurns = 0 }: ChatRow,
  { completion_only_loss = null, assistant_only_loss = true, last_turn_only = false }: Partial<Learning>,
): ChatRequest {
  return {
    messages,
    tools,
    wanted: last_turn_only ? "lastTurn" : assistant_only_loss ? "assistant" : "everything",
    promptTurns: completion_only_loss === false ? 0 : promptTurns,
  };
}

function tokenizeChat({ text, learnt, marked }: RenderedChat, tokenizer: TextTokenizer): Tokens {
  const encoded = tokenizer.locateRendered(text);
  if (learnt === null) return { ids: encoded.ids };
  const choose = marked ? markedTokens : learntTokens;
  return { ids: encoded.ids, trained: choose(text, encoded, learnt, tokenizer) };
}

function tokenizePlain(row: Row, tokenizer: TextTokenizer, options: EncodeOptions): Tokens {
  if ("text" in row) return { ids: tokenizer.encode(ended(row.text, options.eosToken)) };
  if ("prompt" in row) return tokenizePrompt(row, tokenizer, options);
  throw new Error("A conversation is rendered before it is tokenised.");
}

/** As TRL: the prompt alone, then the two together; what is learnt begins where they part. */
function tokenizePrompt(
  { prompt, completion }: PromptRow,
  tokenizer: TextTokenizer,
  { eosToken, completion_only_loss = null }: EncodeOptions,
): Tokens {
  const ids = tokenizer.encode(prompt + ended(completion, eosToken));
  if (completion_only_loss === false) return { ids };
  const trained = new Uint8Array(ids.length);
  return { ids, trained: trained.fill(1, sharedLength(tokenizer.encode(prompt), ids)) };
}

/** With the end token, unless it is there. */
function ended(text: string, eosToken: string | undefined): string {
  return eosToken === undefined || text.endsWith(eosToken) ? text : text + eosToken;
}

/** What is to be said of rows together. */
export function gatherRows(
  encoded: readonly EncodedRow[],
  { template }: Pick<EncodeOptions, "template">,
): EncodedRows {
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
  if (rewritten[0]) throw refusal(rewritten[0], rewritten.length);
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

const REMEDIES: Readonly<Record<Exclude<ChatAnswer, RenderedChat>["code"], string>> = {
  "chat-template": "Change the rows to what the template takes, or choose another with chat_template_path.",
  "chat-prefix":
    "Set last_turn_only, which learns the last answer of each conversation, or give single answers.",
  "chat-time": "Choose another template with chat_template_path.",
  "chat-size": "Shorten the row, or choose another template with chat_template_path.",
};

const NOTES: Readonly<Record<ChatNote, string>> = {
  "no-end-token":
    "The chat template leaves the token that ends an answer out of what is learnt, so the model may not learn to stop.",
  "other-opening":
    "The chat template opens an answer otherwise than it asks for one: what is learnt begins where the two part.",
};

const DEFAULT_TEMPLATE =
  'The model has no chat template: conversations are written plainly, as "User: …" and "Assistant: …" with the end ' +
  "token behind each answer. Whoever uses the adapter must write them so too.";

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

function refusal(first: Fault, count: number): DataError {
  const others = count > 1 ? ` So it is with ${count} rows.` : "";
  return new DataError(first.code, first.message + others, first.remedy);
}

/** "3 rows: 4, 17, 20". */
function countOf(lines: readonly number[]): string {
  const shown = lines.slice(0, 3).join(", ");
  return `${lines.length} ${lines.length === 1 ? "row" : "rows"}: ${shown}${lines.length > 3 ? ", …" : ""}`;
}

function checkIds(ids: Uint32Array, vocabSize: number, line: number): void {
  const stranger = ids.find((id) => id >= vocabSize);
  if (stranger === undefined) return;
  const found = `Row ${line} holds token ${stranger}, the model knows ${vocabSize} tokens.`;
  throw new DataError("token-id", found, "Is the tokenizer from another model?");
}
