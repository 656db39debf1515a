import { ConfigError } from "../base/errors.ts";
import { isJsonObject, show } from "../base/json.ts";
import { ConfigFields } from "./config-fields.ts";
import type { Rotary } from "./rotary.ts";

const WORKS = "rope types default, linear, llama3, yarn, over the whole head";

/**
 * The rotary settings of a config. Transformers 5 keeps them in `rope_parameters`, Transformers 4 in `rope_scaling`
 * beside `rope_theta`; where both stand in one file, Transformers 5 takes `rope_scaling`.
 */
export function parseRotary(config: ConfigFields, maxPositions: number): Rotary {
  const key = isFilled(config.json.rope_scaling) ? "rope_scaling" : "rope_parameters";
  const given = config.json[key] ?? {};
  if (!isJsonObject(given)) config.wrong(key, "an object or null");
  const fields = new ConfigFields(given, `${config.fileName}: ${key}`);

  const partial = fields.json.partial_rotary_factor ?? config.json.partial_rotary_factor ?? 1;
  if (partial !== 1) unsupported(fields, "partial_rotary_factor", partial);
  // Layers of different kinds may each have their own settings; none of our families does so.
  const nested = Object.keys(given).find((name) => isJsonObject(given[name]));
  if (nested) unsupported(fields, nested, given[nested]);

  const theta = fields.has("rope_theta")
    ? fields.positive("rope_theta", 0)
    : config.positive("rope_theta", 10000);
  const type = given.rope_type ?? given.type ?? "default";
  // Phi-3's habit, which Transformers follows for every family: beside the scaling's settings, and stronger.
  const originalMaxPositions = () =>
    config.optionalSize("original_max_position_embeddings") ??
    fields.size("original_max_position_embeddings", maxPositions);
  switch (type) {
    case "default":
      return { type, theta };
    case "linear":
      return { type, theta, factor: required(fields, "factor") };
    case "llama3": {
      const low = required(fields, "low_freq_factor");
      const high = required(fields, "high_freq_factor");
      const factor = required(fields, "factor");
      return { type, theta, factor, low, high, originalMaxPositions: originalMaxPositions() };
    }
    case "yarn":
      return parseYarn(fields, theta, maxPositions, originalMaxPositions());
    default:
      return unsupported(fields, "rope_type", type);
  }
}

function parseYarn(fields: ConfigFields, theta: number, maxPositions: number, original: number): Rotary {
  if (!fields.has("factor")) required(fields, "factor");
  const factor = fields.optionalPositive("factor") ?? maxPositions / original;
  const mscale = truthy(fields, "mscale");
  const mscaleAllDim = truthy(fields, "mscale_all_dim");
  const inferred =
    mscale !== undefined && mscaleAllDim !== undefined
      ? magnitude(factor, mscale) / magnitude(factor, mscaleAllDim)
      : magnitude(factor, 1);
  return {
    type: "yarn",
    theta,
    factor,
    attentionFactor: fields.optionalPositive("attention_factor") ?? inferred,
    betaFast: truthy(fields, "beta_fast") ?? 32,
    betaSlow: truthy(fields, "beta_slow") ?? 1,
    originalMaxPositions: original,
    truncate: fields.boolean("truncate", true),
  };
}

function magnitude(scale: number, mscale: number): number {
  return scale <= 1 ? 1 : 0.1 * mscale * Math.log(scale) + 1;
}

/** Zero, null and absent all mean "not given", as Python's truth does. */
function truthy(fields: ConfigFields, key: string): number | undefined {
  return fields.json[key] === 0 ? undefined : fields.optionalPositive(key);
}

function required(fields: ConfigFields, key: string): number {
  if (fields.has(key)) return fields.positive(key, 0);
  const type = show(fields.json.rope_type ?? fields.json.type);
  throw new ConfigError("config-rotary", `${fields.fileName} lacks ${key}, which rope type ${type} needs.`);
}

function isFilled(value: unknown): boolean {
  return isJsonObject(value) ? Object.keys(value).length > 0 : value !== undefined && value !== null;
}

function unsupported(fields: ConfigFields, key: string, found: unknown): never {
  const what = `${fields.fileName} has ${key} = ${show(found)}, which Graft cannot train.`;
  throw new ConfigError("config-unsupported", what, `What works: ${WORKS}.`);
}
