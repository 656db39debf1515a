/** A tokenizer as GGUF has it, for llama.cpp to cut texts as Transformers does. What it would cut otherwise is refused. */
import { FormatError } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject, show } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import { type FoundTemplate, findChatTemplate } from "../data/chat.ts";
import { type AddedToken, loadTokenizer, type TextTokenizer } from "../data/tokenizer.ts";
import type { GgufValue } from "../formats/gguf-values.ts";
import { arraySource, mapFileSet } from "../formats/sources.ts";
import { scoresOfPieces } from "./ggufPieces.ts";
import type { ModelConfig } from "./modelConfig.ts";

export interface TokenizerSource {
  /** tokenizer.json */
  readonly json: JsonObject;
  readonly tokenizer: TextTokenizer;
  readonly template: FoundTemplate | undefined;
  /** Rows of the embedding. */
  readonly size: number;
  /** Tokens that end an answer, by the config and by how it generates; the first counts most. */
  readonly stopIds: readonly number[];
  readonly bosTokenId: number | undefined;
}

/** From the files that go with a merged model, as `tokenizerFiles` gives them. */
export async function tokenizerSource(
  files: ReadonlyMap<string, Uint8Array>,
  config: ModelConfig,
  stopIds: ReadonlySet<number>,
): Promise<TokenizerSource> {
  const sources = [...files].map(([name, bytes]) => [name, arraySource(bytes, name)] as const);
  const folder = mapFileSet("the tokenizer", new Map(sources));
  const tokenizer = await loadTokenizer(folder);
  return {
    json: await readJsonObject(folder.open("tokenizer.json")!),
    tokenizer,
    template: await findChatTemplate(folder),
    size: config.vocabSize,
    stopIds: [...new Set([...config.eosTokenIds, ...stopIds])],
    bosTokenId: config.bosTokenId,
  };
}

const USE_CHECKPOINT = "Hand on the merged checkpoint instead (merged), which keeps the tokenizer as it is.";

function refuse(found: string): never {
  throw new FormatError("gguf-tokenizer", `tokenizer.json ${found}.`, USE_CHECKPOINT);
}

/** The keys `tokenizer.*` of a GGUF file. Throws FormatError where GGUF has no name for what the tokenizer does. */
export function ggufTokenizer(source: TokenizerSource): Map<string, GgufValue> {
  const { json, template } = source;
  const model = isJsonObject(json.model) ? json.model : {};
  const vocabulary = isJsonObject(model.vocab) ? model.vocab : {};
  if ((model.type ?? "BPE") !== "BPE" || !Array.isArray(model.merges)) {
    refuse(`holds a model of type ${show(model.type)}, and only BPE can be written as GGUF`);
  }
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"] as const) {
    if (model[key]) refuse(`has ${key} ${show(model[key])}, for which GGUF has no place`);
  }
  const tokens = tokenList(source, vocabulary as Record<string, number>);
  const merges = model.merges.map(mergePair);
  const isPieces = json.pre_tokenizer === null && model.byte_fallback === true;
  return new Map<string, GgufValue>([
    ...(isPieces
      ? pieceKeys(json, tokens, merges)
      : bytePairKeys(json, model.ignore_merges === true, tokens, merges)),
    ...specialKeys(source),
    ...templateKeys(template),
  ]);
}

/** Types of tokens in GGUF. */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;
const BYTE = 6;

interface Token {
  readonly text: string;
  readonly type: number;
}

function tokenList({ tokenizer, size }: TokenizerSource, vocabulary: Record<string, number>): Token[] {
  const tokens: (Token | undefined)[] = new Array<undefined>(size).fill(undefined);
  const set = (text: string, id: unknown, type: number) => {
    if (typeof id !== "number" || !(id in tokens)) {
      refuse(`gives ${show(text)} the id ${show(id)}, and the model has ${size} tokens`);
    }
    tokens[id] = { text, type };
  };
  for (const [text, id] of Object.entries(vocabulary)) set(text, id, NORMAL);
  for (const token of tokenizer.addedTokens) {
    refuseGreedy(token);
    set(token.content, token.id, token.special ? CONTROL : USER_DEFINED);
  }
  return tokens.map((token, id) => token ?? { text: `[PAD${id}]`, type: UNUSED });
}

/** llama.cpp finds an added token wherever its text stands, and takes nothing else with it. */
function refuseGreedy(token: AddedToken): void {
  const asked = (["lstrip", "rstrip", "single_word"] as const).find((key) => token[key]);
  if (asked) refuse(`has ${asked} for its added token ${show(token.content)}, which GGUF cannot say`);
}

/** Newer files have a merge as a pair, older ones as a text with a space between. */
function mergePair(merge: Json): [string, string] {
  const pair = typeof merge === "string" ? merge.split(" ") : merge;
  if (
    Array.isArray(pair) &&
    pair.length === 2 &&
    pair.every((part) => typeof part === "string" && !part.includes(" "))
  )
    return pair as [string, string];
  return refuse(`has the merge ${show(merge)}, expected two tokens without spaces`);
}

const strings = (values: readonly string[]): GgufValue => ({
  type: "array",
  value: { element: "string", values },
});

function listKeys(tokens: readonly Token[]): [string, GgufValue][] {
  const types = Int32Array.from(tokens, ({ type }) => type);
  return [
    ["tokenizer.ggml.tokens", strings(tokens.map(({ text }) => text))],
    ["tokenizer.ggml.token_type", { type: "array", value: { element: "i32", values: types } }],
  ];
}

/** Llama 3's and Qwen's ways to cut a text into words differ in how many digits stay together. */
const wordsOf = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

interface PreTokenizer {
  /** `tokenizer.ggml.pre` */
  readonly name: string;
  /** As `cuts` tells it. */
  readonly cuts: string;
  /** llama.cpp takes a word that is a token before it looks at merges. */
  readonly ignoresMerges: boolean;
  readonly composes: boolean;
}

/** What llama.cpp does as Transformers does it, character by character (reference/verify_merged_gguf.py). */
const PRE_TOKENIZERS: readonly PreTokenizer[] = [
  { name: "gpt-2", cuts: "words", ignoresMerges: false, composes: false },
  { name: "smollm", cuts: "digits, words", ignoresMerges: false, composes: false },
  { name: "llama-bpe", cuts: wordsOf("\\p{N}{1,3}"), ignoresMerges: true, composes: false },
  { name: "qwen2", cuts: wordsOf("\\p{N}"), ignoresMerges: false, composes: true },
];

/** Byte-level BPE, as GPT-2 began it. */
function bytePairKeys(
  json: JsonObject,
  ignoresMerges: boolean,
  tokens: readonly Token[],
  merges: readonly [string, string][],
): [string, GgufValue][] {
  const found = cutsOf(json.pre_tokenizer);
  const composes = isJsonObject(json.normalizer) && json.normalizer.type === "NFC";
  if (json.normalizer && !composes)
    refuse(`normalises texts by ${show(json.normalizer)}, which GGUF has no name for`);
  const known = PRE_TOKENIZERS.find(({ cuts }) => cuts === found);
  if (!known) refuse(`cuts texts by ${show(json.pre_tokenizer)}, which GGUF has no name for`);
  if (known.ignoresMerges !== ignoresMerges || (composes && !known.composes)) {
    const has = `ignore_merges ${ignoresMerges} and the normalizer ${show(json.normalizer)}`;
    refuse(`has ${has}, and what GGUF calls ${show(known.name)} has other ones`);
  }
  return [
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: known.name }],
    ...listKeys(tokens),
    ["tokenizer.ggml.merges", strings(merges.map((pair) => pair.join(" ")))],
  ];
}

/** How a pre-tokenizer cuts texts, its settings without effect left out; undefined where it does more. */
function cutsOf(pre: Json | undefined): string | undefined {
  if (!isJsonObject(pre)) return undefined;
  const steps = pre.type === "Sequence" && Array.isArray(pre.pretokenizers) ? pre.pretokenizers : [pre];
  const words = steps.map((step) => (isJsonObject(step) ? cutOf(step) : undefined));
  if (words.includes(undefined) || words.at(-1) === undefined) return undefined;
  return words.filter((word) => word !== "").join(", ");
}

function cutOf(step: JsonObject): string | undefined {
  switch (step.type) {
    case "ByteLevel":
      if (step.add_prefix_space !== false) return undefined;
      return step.use_regex === false ? "" : "words";
    case "Digits":
      return step.individual_digits === true ? "digits" : undefined;
    case "Split":
      if (!isJsonObject(step.pattern) || step.behavior !== "Isolated" || step.invert === true)
        return undefined;
      return typeof step.pattern.Regex === "string" ? step.pattern.Regex : undefined;
    default:
      return undefined;
  }
}

/** SentencePiece's way, as Llama 2's and Mistral's tokenizer.json tell it: ▁ for a space and one more before each text. */
function pieceKeys(
  json: JsonObject,
  tokens: readonly Token[],
  merges: readonly [string, string][],
): [string, GgufValue][] {
  const steps =
    isJsonObject(json.normalizer) && Array.isArray(json.normalizer.normalizers)
      ? json.normalizer.normalizers
      : [];
  const [prepend, replace] = steps;
  const usual =
    steps.length === 2 &&
    isJsonObject(prepend) &&
    prepend.type === "Prepend" &&
    prepend.prepend === "▁" &&
    isJsonObject(replace) &&
    replace.type === "Replace" &&
    isJsonObject(replace.pattern) &&
    replace.pattern.String === " " &&
    replace.content === "▁";
  if (!usual) refuse(`normalises texts by ${show(json.normalizer)}, which GGUF has no name for`);
  const typed = tokens.map(({ text, type }) => {
    if (text === "<unk>") return { text, type: UNKNOWN };
    return { text, type: type === NORMAL && /^<0x[0-9A-F]{2}>$/.test(text) ? BYTE : type };
  });
  const pieces = typed.map(({ text, type }) => (type === NORMAL ? text : undefined));
  const scores = scoresOfPieces(pieces, merges) ?? refuse("has merges that no scores of pieces stand for");
  return [
    ["tokenizer.ggml.model", { type: "string", value: "llama" }],
    ["tokenizer.ggml.pre", { type: "string", value: "default" }],
    ...listKeys(typed),
    ["tokenizer.ggml.scores", { type: "array", value: { element: "f32", values: scores } }],
    ["tokenizer.ggml.add_space_prefix", { type: "bool", value: true }],
  ];
}

/** Ids that llama.cpp asks for, and what it puts around a text. Absent ids would be those of other models. */
function specialKeys({ tokenizer, stopIds, bosTokenId, size }: TokenizerSource): [string, GgufValue][] {
  const idOf = (text: string | undefined) =>
    tokenizer.addedTokens.find(({ content }) => content === text)?.id;
  const end = idOf(tokenizer.eosToken) ?? stopIds[0];
  if (end === undefined || end >= size) refuse("knows no token that ends a text, and GGUF needs one");
  const { starts, ends } = aroundTexts(tokenizer);
  const start = starts[0] ?? idOf(tokenizer.bosToken) ?? bosTokenId ?? end;
  if (starts.length > 1 || ends.some((id) => id !== end) || ends.length > 1) {
    refuse(
      `puts the tokens ${show(starts)} before a text and ${show(ends)} behind it: GGUF knows one of each`,
    );
  }
  const turnEnd = stopIds.find((id) => id !== end && tokenizer.specialIds.has(id));
  const optional: [string, number | undefined][] = [
    ["eot_token_id", turnEnd],
    ["unknown_token_id", idOf(tokenizer.specialTokens.unk_token)],
    ["padding_token_id", idOf(tokenizer.specialTokens.pad_token)],
  ];
  return [
    ["tokenizer.ggml.bos_token_id", { type: "u32", value: start }],
    ["tokenizer.ggml.eos_token_id", { type: "u32", value: end }],
    ...optional.flatMap(([key, id]): [string, GgufValue][] =>
      id === undefined ? [] : [[`tokenizer.ggml.${key}`, { type: "u32", value: id }]],
    ),
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: starts.length > 0 }],
    ["tokenizer.ggml.add_eos_token", { type: "bool", value: ends.length > 0 }],
  ];
}

/** The special tokens that the post-processor puts before and behind a text. */
function aroundTexts(tokenizer: TextTokenizer): { starts: number[]; ends: number[] } {
  const bare = tokenizer.encodeRendered("a");
  const whole = tokenizer.encode("a");
  for (let start = 0; start + bare.length <= whole.length; start++) {
    if (bare.every((id, i) => whole[start + i] === id)) {
      return { starts: whole.slice(0, start), ends: whole.slice(start + bare.length) };
    }
  }
  return refuse("changes a text's tokens by what it puts around them");
}

function templateKeys(template: FoundTemplate | undefined): [string, GgufValue][] {
  if (!template) return [];
  const { template: own, toolTemplate } = template;
  return [
    ["tokenizer.chat_template", { type: "string", value: own }],
    ...(toolTemplate === undefined
      ? []
      : ([
          ["tokenizer.chat_templates", strings(["tool_use"])],
          ["tokenizer.chat_template.tool_use", { type: "string", value: toolTemplate }],
        ] satisfies [string, GgufValue][])),
  ];
}
