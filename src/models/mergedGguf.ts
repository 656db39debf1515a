/** A base with an adapter merged into it as one GGUF file, which llama.cpp and Ollama run without any other. */
import type { FileStream } from "../base/bytes.ts";
import { fromFloat32ToGgml, GGML_TYPES, type WrittenGgmlType } from "../formats/ggml.ts";
import type { GgufValue } from "../formats/gguf-values.ts";
import { type GgufTensorToWrite, writeGguf } from "../formats/gguf-writer.ts";
import { pairRows } from "../lora/ggufLayout.ts";
import { type RowTensor, rowBlocks, storedTensor } from "../lora/merge.ts";
import type { LoadedAdapter } from "../lora/readAdapter.ts";
import { ggufArchitecture, ggufModules } from "./ggufNames.ts";
import { frequencyDivisors, ggufContext, ggufSettings } from "./ggufSettings.ts";
import { ggufTokenizer, type TokenizerSource, tokenizerSource } from "./ggufTokenizer.ts";
import { checkHalves, type MergedModel, mergedModel } from "./mergedModel.ts";
import type { Model } from "./model.ts";
import type { ModelConfig } from "./modelConfig.ts";
import { modelNames } from "./skeleton.ts";

/** `general.file_type`: what most of a file's weights are. */
const FILE_TYPES: Record<WrittenGgmlType, number> = { F32: 0, F16: 1, Q8_0: 7 };

export interface MergedGguf {
  readonly file: FileStream;
  /** Where llama.cpp will not do what the model does. */
  readonly notes: readonly string[];
}

export interface MergedParts {
  readonly model: Model;
  readonly adapter: LoadedAdapter;
  /** What `tokenizerFiles` gives. */
  readonly tokenizer: ReadonlyMap<string, Uint8Array>;
  /** Tokens that end an answer, as the model generates. */
  readonly stopIds: ReadonlySet<number>;
}

/**
 * The file, as llama.cpp's convert_hf_to_gguf.py lays out the merged model: matrices as `type`, or as f16 where their
 * rows are no whole blocks; norms, biases and learned positions as f32. One matrix is held at a time where it has to be
 * turned, otherwise a block of its rows. Throws FormatError and ConfigError for what GGUF cannot say.
 */
export async function mergedGguf(
  name: string,
  type: WrittenGgmlType,
  { model, adapter, tokenizer, stopIds }: MergedParts,
): Promise<MergedGguf> {
  const { config } = model;
  const source = await tokenizerSource(tokenizer, config, stopIds);
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: ggufArchitecture(config) }],
    ["general.type", { type: "string", value: "model" }],
    ["general.file_type", { type: "u32", value: FILE_TYPES[type] }],
    ["general.quantization_version", { type: "u32", value: 2 }],
    ...ggufSettings(config),
    ...ggufTokenizer(source),
  ]);
  const file = writeGguf(name, metadata, tensorsOf(model, mergedModel(model, adapter), type));
  return { file, notes: notesOf(config, source) };
}

function notesOf(config: ModelConfig, { json }: TokenizerSource): string[] {
  const notes: string[] = [];
  const context = ggufContext(config);
  if (context < config.maxPositions) {
    notes.push(
      `llama.cpp knows no sliding window for this family: the file's context is one window, ${context} tokens, within which it computes the same.`,
    );
  }
  if (json.normalizer) {
    notes.push(
      "The tokenizer composes characters (NFC), which llama.cpp does not: texts with letters and accents apart are cut otherwise.",
    );
  }
  return notes;
}

function tensorsOf(model: Model, { changed, tied }: MergedModel, type: WrittenGgmlType): GgufTensorToWrite[] {
  const { positions, head } = modelNames(model.config);
  const places = ggufModules(model.config);
  const divisors = frequencyDivisors(model.config);
  const tensors: GgufTensorToWrite[] = [];
  for (const module of model.modules) {
    const place = places.get(module.name);
    if (!place || (module.name === head && tied)) continue;
    for (const parameter of Object.keys(module.parameters)) {
      const stored =
        changed.get(`${module.name}.${parameter}`) ?? storedTensor(model.tensor(module.name, parameter));
      const turned = module.kind === "conv1d" && parameter === "weight" ? turnedRows(stored) : stored;
      const tensor = place.pairedHeads === undefined ? turned : pairedRows(turned, place.pairedHeads);
      const isMatrix = tensor.shape.length === 2 && module.name !== positions;
      tensors.push(written(`${place.name}.${parameter}`, tensor, isMatrix ? type : "F32"));
    }
  }
  if (divisors) tensors.push(written("rope_freqs.weight", numbers(divisors), "F32"));
  return tensors;
}

function written(name: string, tensor: RowTensor, wanted: WrittenGgmlType): GgufTensorToWrite {
  const fits = tensor.shape.at(-1)! % GGML_TYPES[wanted].blockElements === 0;
  const type = fits ? wanted : "F16";
  return {
    ...{ name, type, shape: tensor.shape },
    async *pieces() {
      for await (const rows of rowBlocks(tensor)) {
        if (type === "F16") checkHalves(name, rows, "Write the file in f32.");
        yield fromFloat32ToGgml(rows, type);
      }
    },
  };
}

function numbers(values: Float32Array): RowTensor {
  return { shape: [values.length], rows: async (start, end) => values.subarray(start, end) };
}

/** Conv1D stores [in, out]; GGUF has all matrices as [out, in]. */
function turnedRows(tensor: RowTensor): RowTensor {
  const [inFeatures, outFeatures] = tensor.shape as [number, number];
  let matrix: Promise<Float32Array> | undefined;
  const turn = async () => {
    const turned = new Float32Array(inFeatures * outFeatures);
    let k = 0;
    for await (const rows of rowBlocks(tensor)) {
      for (let at = 0; at < rows.length; at += outFeatures, k++) {
        for (let o = 0; o < outFeatures; o++) turned[o * inFeatures + k] = rows[at + o]!;
      }
    }
    return turned;
  };
  return {
    shape: [outFeatures, inFeatures],
    rows: async (start, end) => {
      matrix ??= turn();
      const rows = (await matrix).subarray(start * inFeatures, end * inFeatures);
      // The last block: the next matrix needs the place.
      if (end === outFeatures) matrix = undefined;
      return rows;
    },
  };
}

/** Rows of q or k as llama.cpp has them: they change places within their head. */
function pairedRows(tensor: RowTensor, heads: number): RowTensor {
  const [rows, ...rest] = tensor.shape as [number, ...number[]];
  const width = rest[0] ?? 1;
  const perHead = rows / heads;
  return {
    shape: tensor.shape,
    rows: async (start, end) => {
      const first = Math.floor(start / perHead);
      const last = Math.ceil(end / perHead);
      const whole = await tensor.rows(first * perHead, last * perHead);
      const paired = pairRows(whole, last - first, width);
      return paired.subarray((start - first * perHead) * width, (end - first * perHead) * width);
    },
  };
}
