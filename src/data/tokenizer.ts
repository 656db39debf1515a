import { Tokenizer } from "@huggingface/tokenizers";
import type { FileSet } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { isJsonObject, type JsonObject, show } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import { pieceEnds, spellingOf } from "./pieces.ts";

export interface EncodedText {
  readonly ids: number[];
  /** Where each token ends, in bytes of the text's UTF-8; undefined where the tokens do not tell. */
  readonly ends: Uint32Array | undefined;
}

/** What Graft needs of a tokenizer. */
export interface TextTokenizer {
  /** Ids as the tokenizer's own default call gives them, with the special tokens that its post-processor adds. */
  encode(text: string): number[];
  /** The same without those: a chat template has written them itself. */
  encodeRendered(text: string): number[];
  /** The same with the places of the tokens. */
  locateRendered(text: string): EncodedText;
  decode(ids: readonly number[]): string;
  readonly eosToken: string | undefined;
  readonly bosToken: string | undefined;
  /** By Transformers' names, as its templates see them. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Ids of all tokens that stand for no text: those above and others, such as <|im_start|>. */
  readonly specialIds: ReadonlySet<number>;
  /** Tokens that are found in a text before it is cut, those among them. */
  readonly addedTokens: readonly AddedToken[];
}

/** In tokenizer.json's words. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Takes the spaces before it, or behind it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Is found as a whole word only. */
  readonly single_word: boolean;
}

const REMEDY =
  "Put tokenizer.json and tokenizer_config.json into the model's folder, as save_pretrained() writes them.";

/** Loads the tokenizer of a checkpoint's folder. Throws FormatError. */
export async function loadTokenizer(files: FileSet): Promise<TextTokenizer> {
  const source = files.open("tokenizer.json");
  if (!source) {
    const old = files
      .names()
      .find((name) => /^(tokenizer\.model|vocab\.json|merges\.txt|spiece\.model)$/.test(name));
    const found = old ? `only "${old}"` : "no tokenizer.json";
    const remedy = old ? "Open the tokenizer in Transformers and save it with save_pretrained()." : REMEDY;
    throw new FormatError("no-tokenizer", `${files.label} has ${found}.`, remedy);
  }
  const tokenizerJson = await readJsonObject(source);
  const config = await readOptional(files, "tokenizer_config.json");
  const specialTokens = await readOptional(files, "special_tokens_map.json");
  return buildTokenizer(tokenizerJson, config, specialTokens);
}

/** From the parsed files; nothing given is changed. */
export function buildTokenizer(
  tokenizerJson: JsonObject,
  config: JsonObject,
  specialTokens: JsonObject = {},
): TextTokenizer {
  const eosToken = specialToken(config.eos_token ?? specialTokens.eos_token);
  const bosToken = specialToken(config.bos_token ?? specialTokens.bos_token);
  const added = addedTokens(tokenizerJson, config, [bosToken, eosToken]);
  if (eosToken !== undefined && !added.some((token) => token.content === eosToken)) {
    const found = `The tokenizer's files name ${show(eosToken)} as eos_token, but the vocabulary lacks it.`;
    throw new FormatError("special-token", found, REMEDY);
  }
  // What stands before and after a text is the post-processor's word alone: beside a tokenizer.json, Transformers
  // pays no heed to add_bos_token and add_eos_token.
  const json: JsonObject = { ...tokenizerJson, added_tokens: added };
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(json, config);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new FormatError("tokenizer", `tokenizer.json cannot be used: ${why}.`, REMEDY);
  }
  const spelling = spellingOf(tokenizerJson);
  const addedTexts = new Set(added.map(({ content }) => content));
  return {
    eosToken,
    bosToken,
    specialTokens: namedTokens(config, specialTokens),
    addedTokens: added.map(asAdded),
    specialIds: new Set(added.flatMap(({ id, special }) => (special === true ? [Number(id)] : []))),
    encode: (text) => tokenizer.encode(text).ids,
    encodeRendered: (text) => tokenizer.encode(text, { add_special_tokens: false }).ids,
    locateRendered: (text) => {
      const { ids, tokens } = tokenizer.encode(text, { add_special_tokens: false });
      return { ids, ends: pieceEnds(text, tokens, spelling, (token) => addedTexts.has(token)) };
    },
    // The library answers an empty list with an error.
    decode: (ids) => (ids.length === 0 ? "" : tokenizer.decode([...ids], { skip_special_tokens: false })),
  };
}

const SPECIAL_NAMES = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);

function namedTokens(config: JsonObject, specialTokens: JsonObject): Record<string, string> {
  const found = SPECIAL_NAMES.map((name) => [name, specialToken(config[name] ?? specialTokens[name])]);
  return Object.fromEntries(found.filter(([, token]) => token !== undefined));
}

/** A special token stands in the files as a text or as an object with the text in `content`. */
function specialToken(value: unknown): string | undefined {
  const text = isJsonObject(value) ? value.content : value;
  if (text === undefined || text === null || text === "") return undefined;
  if (typeof text === "string") return text;
  throw new FormatError(
    "special-token",
    `The tokenizer has ${show(value)} as a special token, expected a text.`,
  );
}

/**
 * Transformers keeps special tokens whole even where tokenizer.json knows them only as words of the vocabulary, and
 * adds those that only tokenizer_config.json lists.
 */
function addedTokens(
  json: JsonObject,
  config: JsonObject,
  special: readonly (string | undefined)[],
): JsonObject[] {
  const tokens = Array.isArray(json.added_tokens) ? json.added_tokens.filter(isJsonObject) : [];
  const isNew = (content: unknown) => !tokens.some((token) => token.content === content);
  const decoder = isJsonObject(config.added_tokens_decoder) ? config.added_tokens_decoder : {};
  for (const [id, token] of Object.entries(decoder)) {
    if (isJsonObject(token) && isNew(token.content)) tokens.push({ ...token, id: Number(id) });
  }
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  for (const content of special) {
    const id = content !== undefined && isNew(content) ? vocabularyId(json, content) : undefined;
    if (content !== undefined && id !== undefined) tokens.push({ id, content, ...flags });
  }
  return tokens;
}

function asAdded(token: JsonObject): AddedToken {
  const flag = (key: string) => token[key] === true;
  return {
    id: Number(token.id),
    content: String(token.content),
    special: flag("special"),
    lstrip: flag("lstrip"),
    rstrip: flag("rstrip"),
    single_word: flag("single_word"),
  };
}

function vocabularyId(json: JsonObject, content: string): number | undefined {
  const vocabulary = isJsonObject(json.model) ? json.model.vocab : undefined;
  if (Array.isArray(vocabulary)) {
    const id = vocabulary.findIndex((entry) => Array.isArray(entry) && entry[0] === content);
    return id >= 0 ? id : undefined;
  }
  const id = isJsonObject(vocabulary) && Object.hasOwn(vocabulary, content) ? vocabulary[content] : undefined;
  return typeof id === "number" ? id : undefined;
}

async function readOptional(files: FileSet, name: string): Promise<JsonObject> {
  const source = files.open(name);
  return source ? readJsonObject(source) : {};
}
