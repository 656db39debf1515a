/** Rows to token ids, and which of them are learnt. */
import { DataError } from "../base/errors.ts";
import type { ChatTemplate } from "./chat.ts";
import type { ChatAnswer, ChatFault, ChatRequest, RenderedChat } from "./conversation.ts";
import { type EncodedRow, type EncodedRows, gatherRows } from "./encodedRows.ts";
import type { Fault } from "./faults.ts";
import { learntTokens, markedTokens, sharedLength } from "./masks.ts";
import type { ChatRow, PromptRow, Row } from "./rows.ts";
import type { TextTokenizer } from "./tokenizer.ts";

/** What is learnt; the keys are the run file's, and said there. */
export interface Learning {
  readonly completion_only_loss: boolean | null;
  readonly assistant_only_loss: boolean;
  readonly last_turn_only: boolean;
}

export interface EncodeOptions extends Partial<Learning> {
  /** Appended to a text or a completion where it does not end with it; undefined where the tokenizer has none. */
  readonly eosToken: string | undefined;
  /** Rows of the model's embedding: no id may reach it. */
  readonly vocabSize: number;
  /** How conversations are written. */
  readonly template?: ChatTemplate | undefined;
  /** How many rows are done; told about every twentieth of a second. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Rejects with its reason when aborted. */
  readonly signal?: AbortSignal;
}

/** Rows that go to the templates' worker and back together. */
const BATCH_ROWS = 256;
/** How long others may be kept waiting. */
const TURN_MS = 50;

/** Tokenises all rows. Throws what `encodeEach` throws. */
export async function encodeRows(
  rows: readonly Row[],
  tokenizer: TextTokenizer,
  options: EncodeOptions,
): Promise<EncodedRows> {
  return gatherRows(await encodeEach(rows, tokenizer, options), options.template);
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

const REMEDIES: Readonly<Record<ChatFault["code"], string>> = {
  "chat-template": "Change the rows to what the template takes, or choose another with chat_template_path.",
  "chat-prefix":
    "Set last_turn_only, which learns the last answer of each conversation, or give single answers.",
  "chat-time": "Choose another template with chat_template_path.",
  "chat-size": "Shorten the row, or choose another template with chat_template_path.",
};

function refused(line: number, { code, message }: ChatFault, { last_turn_only }: EncodeOptions): Fault {
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

function checkIds(ids: Uint32Array, vocabSize: number, line: number): void {
  const stranger = ids.find((id) => id >= vocabSize);
  if (stranger === undefined) return;
  const found = `Row ${line} holds token ${stranger}, the model knows ${vocabSize} tokens.`;
  throw new DataError("token-id", found, "Is the tokenizer from another model?");
}
