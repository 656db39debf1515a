/** How tokens are chosen, as files say it in the words of Transformers' GenerationConfig, and what each may be. */
import * as v from "valibot";
import type { FileSet } from "../base/bytes.ts";
import type { JsonObject } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import { checkValue } from "../lora/config.ts";
import type { Sampling } from "./sampling.ts";

/** What a model has its own say in. */
export type SamplingSettings = Pick<Sampling, "temperature" | "top_k" | "top_p" | "repetition_penalty">;

const number = v.pipe(v.number(), v.finite());

export const SAMPLING_FIELDS = {
  temperature: {
    schema: v.pipe(number, v.minValue(0)),
    expected: "a number of at least 0",
    default: 1,
  },
  top_k: {
    schema: v.pipe(number, v.safeInteger(), v.minValue(0)),
    expected: "an integer of at least 0",
    default: 50,
  },
  top_p: {
    schema: v.pipe(number, v.minValue(0), v.maxValue(1)),
    expected: "a number from 0 to 1",
    default: 1,
  },
  repetition_penalty: {
    schema: v.pipe(number, v.gtValue(0)),
    expected: "a number above 0",
    default: 1,
  },
} as const satisfies Record<
  keyof SamplingSettings,
  { schema: v.GenericSchema<unknown, number>; expected: string; default: number }
>;

const SAMPLING_KEYS = Object.keys(SAMPLING_FIELDS) as (keyof SamplingSettings)[];

/** What a generation_config.json says. */
export interface GenerationConfig extends SamplingSettings {
  /** Tokens that end an answer; none where it names none. */
  readonly stopIds: readonly number[];
}

const FILE = "generation_config.json";

/** What is absent or null takes Transformers' default. Throws ConfigError where a value can be none. */
export async function readGenerationConfig(files: FileSet): Promise<GenerationConfig> {
  const source = files.open(FILE);
  const given = source ? await readJsonObject(source) : {};
  const settings = SAMPLING_KEYS.map((key) => {
    const { schema, expected, default: fallback } = SAMPLING_FIELDS[key];
    return [key, checkValue(schema, given[key] ?? fallback, `${FILE}: ${key}`, { expected, fallback })];
  });
  return { ...(Object.fromEntries(settings) as SamplingSettings), stopIds: stopIdsOf(given) };
}

function stopIdsOf({ eos_token_id: given }: JsonObject): number[] {
  return [given].flat().filter((id): id is number => typeof id === "number");
}
