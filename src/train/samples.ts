/** The run file's `samples`: what the model is asked while it trains, how often, and how it answers. */
import * as v from "valibot";
import type { Json, JsonObject } from "../base/json.ts";
import type { Message } from "../data/rows.ts";
import { checkValue, unknownKey } from "../lora/config.ts";
import { SAMPLING_FIELDS, type SamplingSettings } from "./samplingSettings.ts";

/** A text to go on with, or a conversation to answer. */
export type SamplePrompt = string | Message[];

/** Null where the model's generation_config.json decides. */
export type SampleSettings = { readonly [Key in keyof SamplingSettings]: number | null } & {
  readonly prompts: SamplePrompt[];
  readonly every: number;
  readonly max_new_tokens: number;
  readonly seed: number;
};

interface SampleField {
  readonly schema: v.GenericSchema;
  readonly expected: string;
  readonly default: Json;
  readonly description: string;
}

const PROMPTS = 'a list of texts and conversations, such as ["Once", [{"role": "user", "content": "Hi"}]]';

const conversation = v.array(v.looseObject({ role: v.string(), content: v.string() }));
const prompts = v.array(v.union([v.pipe(v.string(), v.nonEmpty()), v.pipe(conversation, v.nonEmpty())]));

function sampling(key: keyof SamplingSettings, description: string): SampleField {
  const { schema, expected } = SAMPLING_FIELDS[key];
  return { schema: v.nullable(schema), expected: `${expected} or null`, default: null, description };
}

export const SAMPLE_FIELDS: Readonly<Record<keyof SampleSettings, SampleField>> = {
  prompts: {
    schema: v.pipe(prompts, v.nonEmpty()),
    expected: PROMPTS,
    default: [],
    description: "Texts are gone on with, conversations are answered. There must be one at least.",
  },
  every: {
    schema: v.pipe(
      v.number(),
      v.gtValue(0),
      v.check((every) => every < 1 || Number.isSafeInteger(every)),
    ),
    expected: "a whole number of steps, or a share above 0 and below 1",
    default: 0.1,
    description:
      "Ask every so many steps, before the first and after the last; below 1 it is a share of all steps.",
  },
  max_new_tokens: {
    schema: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
    expected: "an integer of at least 1",
    default: 64,
    description: "How long an answer may get.",
  },
  temperature: sampling(
    "temperature",
    "Divides the logits before a token is drawn. 0: only the greedy answer is given.",
  ),
  top_k: sampling("top_k", "Draw from so many of the likeliest tokens; 0: from all."),
  top_p: sampling("top_p", "Draw from the likeliest tokens that together reach this probability."),
  repetition_penalty: sampling(
    "repetition_penalty",
    "Above 1, tokens of the prompt and of the answer become less likely; greedy answers obey it too.",
  ),
  seed: {
    schema: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(2 ** 32 - 1)),
    expected: "an integer from 0 to 4294967295",
    default: 0,
    description: "Decides the draws, which are the same each time: answers differ by what was learnt.",
  },
};

const KEYS = Object.keys(SAMPLE_FIELDS) as (keyof SampleSettings)[];

/** Checks `samples` key by key and fills in the defaults; `path` is where it stands. Throws ConfigError. */
export function parseSamples(given: JsonObject, path: string): SampleSettings {
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(SAMPLE_FIELDS, key)) throw unknownKey(path, key, KEYS);
  }
  const values = KEYS.map((key) => {
    const { schema, expected, default: fallback } = SAMPLE_FIELDS[key];
    return [key, checkValue(schema, given[key] ?? fallback, `${path}.${key}`, { expected, fallback })];
  });
  return Object.fromEntries(values) as SampleSettings;
}
