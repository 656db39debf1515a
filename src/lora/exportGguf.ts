import type { StoredTensor } from "../base/bytes.ts";
import { FormatError, ShapeError } from "../base/errors.ts";
import { type Json, type JsonObject, show } from "../base/json.ts";
import { toFloat32 } from "../formats/floats.ts";
import type { GgufValue } from "../formats/gguf-values.ts";
import type { GgufTensorToWrite } from "../formats/gguf-writer.ts";
import { baseParameterOf, CONFIG_FILE } from "./adapterKeys.ts";
import { type GgufNames, type GgufWeight, ggufShapes, toGgufA, toGgufB } from "./ggufLayout.ts";
import { patternLookup } from "./matching.ts";
import type { AdapterFiles } from "./readAdapter.ts";

/** What writeGguf takes. */
export interface GgufAdapter {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensorToWrite[];
}

/**
 * An adapter in PEFT's form as llama.cpp and Ollama read it. llama.cpp computes y += (alpha / r)·(x·Aᵀ)·Bᵀ with one
 * alpha for the whole file and each pair's own r, so:
 *
 *   alpha = lora_alpha, or lora_alpha·√r with use_rslora, as most pairs have it, without its sign;
 *   B     = what PEFT has, times the pair's own alpha over that one where they differ.
 *
 * A is PEFT's bytes; rows of B follow the rows of the base's weight. Everything is f32.
 * Throws FormatError and ShapeError: what GGUF has no place for is refused by name.
 */
export function ggufAdapter(adapter: AdapterFiles, names: GgufNames): GgufAdapter {
  refuseUnheld(adapter.given, adapter.label);
  const alphas = patternLookup(adapter.config.alpha_pattern, `${CONFIG_FILE}.alpha_pattern`);
  const alphaOf = (module: string) => alphas.firstValue(module) ?? adapter.config.lora_alpha;
  const pairs = pairsOf(adapter, names).map((pair) => placed(pair, adapter, names, alphaOf));
  const alpha = mostCommon(pairs.map((pair) => Math.abs(pair.alpha)));
  const written = Math.fround(alpha);
  // llama.cpp takes 0 for an alpha that is not there, and scales by 1.
  if (!(written > 0 && Number.isFinite(written))) {
    const found = `${adapter.label} has an alpha of ${alpha}, which f32 holds as ${written}`;
    throw new FormatError("gguf-alpha", `${found}; GGUF needs one above 0.`, MERGE);
  }
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: names.architecture }],
    ["general.type", { type: "string", value: "adapter" }],
    ["adapter.type", { type: "string", value: "lora" }],
    ["adapter.lora.alpha", { type: "f32", value: written }],
  ]);
  const tensors = pairs.flatMap((pair) =>
    halves(pair, pair.alpha === alpha ? 1 : pair.alpha / written, adapter.label),
  );
  return { metadata, tensors };
}

const MERGE =
  "Hand on the merged model instead: one GGUF file that runs alone (merged-gguf), or a checkpoint (merged).";

/** Starts that leave the base's weights alone. Others subtract from the base what they begin with. */
const PLAIN_STARTS: readonly Json[] = [true, false, "gaussian", "orthogonal", "eva", "mica"];

/** Settings that change more than A and B can say. */
const UNHELD: readonly [key: string, asks: (value: Json) => boolean, what: string][] = [
  ["use_dora", (value) => value === true, "DoRA's magnitudes"],
  ["bias", (value) => value !== "none", "trained biases"],
  ["lora_bias", (value) => value === true, "a bias of B"],
  ["modules_to_save", isFilled, "modules trained whole"],
  ["trainable_token_indices", isFilled, "single tokens' embeddings"],
  ["target_parameters", isFilled, "adapted parameters"],
  ["layer_replication", isFilled, "repeated layers"],
  ["init_lora_weights", (value) => !PLAIN_STARTS.includes(value), "a start that changes the base's weights"],
];

/** Throws FormatError where an adapter_config.json asks for what a GGUF adapter has no place for. */
export function refuseUnheld(config: JsonObject, label: string): void {
  for (const [key, asks, what] of UNHELD) {
    const value = config[key];
    if (value === undefined || value === null || !asks(value)) continue;
    throw new FormatError(
      "gguf-unheld",
      `${label}: ${CONFIG_FILE} has ${key} ${show(value)}, and a GGUF adapter cannot hold ${what}.`,
      MERGE,
    );
  }
}

function isFilled(value: Json): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length > 0;
}

/** What else PEFT's files hold, by the endings of its names. */
const UNHELD_TENSORS: readonly [ending: RegExp, what: string][] = [
  [/\.lora_magnitude_vector$/, "a magnitude of DoRA"],
  [/\.lora_B\.bias$/, "a bias of B"],
  [/\.base_layer\.bias$/, "a trained bias"],
  [/\.trainable_tokens_delta$/, "single tokens' embeddings"],
  [/^/, "a tensor that trained whole"],
];

/** A [r, in] and B [out, r] of one module. */
interface Pair {
  readonly module: string;
  readonly a: StoredTensor;
  readonly b: StoredTensor;
}

/** In the order of the file. */
function pairsOf({ label, tensors }: AdapterFiles, { weights }: GgufNames): Pair[] {
  const pairs: Pair[] = [];
  // What PEFT writes along of the base. A table that trained would stand in modules_to_save, which is refused before.
  const isCopy = (key: string) => {
    const base = baseParameterOf(key);
    if (!base || base.isBelow) return base?.name.endsWith(".weight");
    return base.module === "lm_head" || weights.get(base.module)?.isEmbedding;
  };
  for (const [key, a] of tensors) {
    const half = /^base_model\.model\.(.+)\.lora_(embedding_)?([AB])(\.weight)?$/.exec(key);
    if (!half || (half[2] === undefined) !== (half[4] !== undefined)) {
      if (isCopy(key)) continue;
      const [, what] = UNHELD_TENSORS.find(([ending]) => ending.test(key))!;
      throw new FormatError(
        "gguf-unheld",
        `${label} holds ${show(key)}, ${what}, for which a GGUF adapter has no place.`,
        MERGE,
      );
    }
    const other = key.replace(/[AB](?=(\.weight)?$)/, half[3] === "A" ? "B" : "A");
    const b = tensors.get(other);
    if (!b) {
      const found = `${label} holds ${show(key)} without its other half, ${show(other)}.`;
      throw new FormatError("half-missing", found, "The file is not whole.");
    }
    if (half[3] === "A") pairs.push({ module: half[1]!, a, b });
  }
  if (pairs.length > 0) return pairs;
  throw new FormatError("gguf-empty", `${label} holds no pair of lora_A and lora_B.`);
}

interface PlacedPair extends Pair {
  readonly r: number;
  /** By which llama.cpp would have to scale this pair: its scale times r. */
  readonly alpha: number;
  readonly weight: GgufWeight;
}

function placed(
  pair: Pair,
  { label, config }: AdapterFiles,
  names: GgufNames,
  alphaOf: (module: string) => number,
): PlacedPair {
  const { module, a, b } = pair;
  const weight = names.weights.get(module);
  if (!weight || (weight.isEmbedding && names.tied)) {
    const why =
      names.tied && (weight?.isEmbedding || module === "lm_head")
        ? "the head of this model is its embedding, and a GGUF adapter can change only both"
        : `llama.cpp adapts no such weight of ${names.architecture} models`;
    throw new FormatError("gguf-no-weight", `${label} adapts ${module}: ${why}.`, MERGE);
  }
  const r = a.shape[0] ?? 0;
  const { inFeatures, outFeatures } = weight;
  if (r < 1 || !sameShape(a.shape, [r, inFeatures]) || !sameShape(b.shape, [outFeatures, r])) {
    throw new ShapeError(
      "shape-mismatch",
      `${label}: A and B of ${module} are [${a.shape}] and [${b.shape}], expected [r,${inFeatures}] and [${outFeatures},r].`,
      "Was the adapter trained on another model?",
    );
  }
  const alpha = alphaOf(module);
  return { ...pair, r, weight, alpha: config.use_rslora ? alpha * Math.sqrt(r) : alpha };
}

function sameShape(found: readonly number[], wanted: readonly number[]): boolean {
  return found.length === wanted.length && found.every((size, i) => size === wanted[i]);
}

/** The value that most have; of several, the one that comes first. */
function mostCommon(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, one) => (one[1] > best[1] ? one : best))[0];
}

function halves({ a, b, r, weight }: PlacedPair, factor: number, label: string): GgufTensorToWrite[] {
  const shapes = ggufShapes(weight, r);
  return [
    {
      name: `${weight.name}.lora_a`,
      type: "F32",
      shape: shapes.a,
      async *pieces() {
        yield bytesOf(toGgufA(await readFinite(a, 1, label), weight, r));
      },
    },
    {
      name: `${weight.name}.lora_b`,
      type: "F32",
      shape: shapes.b,
      async *pieces() {
        yield bytesOf(toGgufB(await readFinite(b, factor, label), weight, r));
      },
    },
  ];
}

async function readFinite(tensor: StoredTensor, factor: number, label: string): Promise<Float32Array> {
  const values = toFloat32(await tensor.read(), tensor.dtype);
  if (factor !== 1) for (let i = 0; i < values.length; i++) values[i]! *= factor;
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad === -1) return values;
  const scaled = factor === 1 ? "" : `, times ${factor}`;
  throw new FormatError(
    "not-finite",
    `${label}: ${tensor.name} holds ${values[bad]} at index ${bad}${scaled}.`,
    scaled === ""
      ? "The training that made it diverged; take an earlier checkpoint."
      : `The alphas of its modules lie too far apart for one file. ${MERGE}`,
  );
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
