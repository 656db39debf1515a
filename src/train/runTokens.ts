/** What a run reads, as tokens: rows that it trains on, rows that are held out, and prompts that it answers meanwhile. */
import type { FileSet } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import { type ChatTemplate, chatTemplate, type FoundTemplate, templateAt } from "../data/chat.ts";
import { cutRows, type TokenisedRows } from "../data/cutRows.ts";
import type { EncodedRows } from "../data/encodedRows.ts";
import type { Row } from "../data/rows.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import { encodeRows } from "../data/tokenize.ts";
import type { OpenedModel } from "./openModel.ts";
import { promptIds } from "./prompts.ts";
import type { RowReader } from "./rowTokens.ts";
import type { RunConfig } from "./runFile.ts";

export interface RowSources {
  readonly model: FileSet;
  readonly rows: readonly Row[];
  /** Never trained on; their loss is taken every `eval_steps`, and before the first step and after the last. */
  readonly heldOut?: readonly Row[] | undefined;
  readonly run: RunConfig;
  /** What `chat_template_path` names, where that is no file of the model's folder. */
  readonly chatTemplate?: FoundTemplate | undefined;
  /** Starts the worker in which chat templates run: there is one way in a browser and another in Node. */
  readonly startTemplates: StartTemplatePort;
  /** Tokenises rows; for those that keep what was tokenised before. */
  readonly encode?: ((rows: readonly Row[], reader: RowReader) => Promise<EncodedRows>) | undefined;
}

export interface RunTokens {
  readonly template: ChatTemplate;
  readonly rows: TokenisedRows;
  readonly heldOut: TokenisedRows | undefined;
  /** Of the prompts of `train.samples`. */
  readonly sampled: readonly Uint32Array[];
}

/** Throws DataError where a row cannot be used, ConfigError where rows are to be evaluated and none are held out. */
export async function tokeniseRun(opened: OpenedModel, sources: RowSources): Promise<RunTokens> {
  const template = await templateOf(opened, sources);
  let tokens: RunTokens;
  try {
    tokens = await tokensOf(opened, sources, template);
  } finally {
    template.close();
  }
  const { eval_steps } = sources.run.train;
  if (eval_steps === null || tokens.heldOut) return tokens;
  throw new ConfigError(
    "no-held-out",
    `train.eval_steps is ${eval_steps}, but no rows are held out.`,
    "Leave eval_steps out.",
  );
}

/** What was given as the run's template, what it names, or the model's own. */
async function templateOf(
  { template, tokenizer }: OpenedModel,
  { model, run, chatTemplate: given, startTemplates }: RowSources,
): Promise<ChatTemplate> {
  const { chat_template_path: path } = run.train;
  const chosen = given ?? (path === null ? template : await templateAt(model, path));
  return chatTemplate(chosen, tokenizer, startTemplates);
}

async function tokensOf(
  opened: OpenedModel,
  { run, rows, heldOut, encode }: RowSources,
  template: ChatTemplate,
): Promise<RunTokens> {
  const { tokenizer } = opened;
  const reader = readerOf(opened, run, template);
  const { rotary, maxPositions } = opened.model.config;
  const { max_length, truncation_mode, samples } = run.train;
  const cut = {
    maxLength: rotary ? max_length : Math.min(max_length, maxPositions),
    truncationMode: truncation_mode,
  };
  const tokenise = async (some: readonly Row[]): Promise<TokenisedRows> =>
    cutRows(await (encode ? encode(some, reader) : encodeRows(some, tokenizer, reader.options)), cut);
  const prompts = (samples?.prompts ?? []).map((prompt) =>
    typeof prompt === "string" ? { text: prompt } : { messages: prompt },
  );
  return {
    ...{ template, rows: await tokenise(rows), heldOut: heldOut && (await tokenise(heldOut)) },
    sampled: await promptIds(prompts, tokenizer, template),
  };
}

function readerOf(
  { model, tokenizer, stopIds }: OpenedModel,
  { train }: RunConfig,
  template: ChatTemplate,
): RowReader {
  const { completion_only_loss, assistant_only_loss, last_turn_only } = train;
  const learning = { completion_only_loss, assistant_only_loss, last_turn_only };
  const { eosToken } = tokenizer;
  const { vocabSize } = model.config;
  return { tokenizer, stopIds, options: { ...learning, eosToken, vocabSize, template } };
}
