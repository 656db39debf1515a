/** A base with an adapter merged into it, as a checkpoint that stands alone: the files of a Hugging Face folder. */
import type { ByteSource, FileSet, FileStream, StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { readJsonObject } from "../base/read-json.ts";
import { INDEX, openShards, type Shard, SINGLE } from "../formats/checkpoint.ts";
import { fromFloat32 } from "../formats/floats.ts";
import { streamSafetensors, type TensorToStream, tensorBytes } from "../formats/safetensors.ts";
import { arraySource, copyStream } from "../formats/sources.ts";
import { pythonJson } from "../lora/exportConfig.ts";
import { type RowTensor, rowBlocks } from "../lora/merge.ts";
import type { LoadedAdapter } from "../lora/readAdapter.ts";
import { checkpointTensor } from "./frozen.ts";
import { checkHalves, type MergedModel, mergedModel } from "./mergedModel.ts";
import type { Model } from "./model.ts";
import { modelNames } from "./skeleton.ts";

const CONFIG = "config.json";
const LICENCE = /^(licen[cs]e|notice|use_policy)/i;

/**
 * The files of the merged model: tensors in the base's own types, files and order, its config, tokenizer and chat
 * template; `tokenizer` is what `tokenizerFiles` gives. One block of rows of one tensor is held at a time.
 * Where the adapter parts the head from the embedding that it was tied to, both are written, and the config says so.
 */
export async function mergedCheckpoint(
  files: FileSet,
  model: Model,
  adapter: LoadedAdapter,
  tokenizer: ReadonlyMap<string, Uint8Array>,
): Promise<FileStream[]> {
  const merged = mergedModel(model, adapter);
  const shards = writtenShards(await openShards(files), model, merged);
  const config = files.open(CONFIG)!;
  const beside = ["generation_config.json", ...files.names().filter((name) => LICENCE.test(name))];
  const sources = [
    model.config.tied === merged.tied ? config : await untied(config),
    ...beside.map((name) => files.open(name)),
    ...[...tokenizer].map(([name, bytes]) => arraySource(bytes, name)),
    ...(shards.some(({ name }) => name === SINGLE) ? [] : [indexOf(shards)]),
  ];
  return [
    ...sources.flatMap((source) => (source ? [copyStream(source)] : [])),
    ...shards.map(({ name, metadata, tensors }) =>
      streamSafetensors(name, tensors, Object.fromEntries(metadata)),
    ),
  ];
}

interface WrittenShard {
  readonly name: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: readonly TensorToStream[];
}

function writtenShards(
  shards: readonly Shard[],
  model: Model,
  { changed, tied }: MergedModel,
): WrittenShard[] {
  const { head } = modelNames(model.config);
  const stored = new Map(shards.flatMap(({ tensors }) => [...tensors]));
  // By the names that this checkpoint has for them.
  const anew = new Map<string, RowTensor>();
  const added: TensorToStream[] = [];
  for (const [name, tensor] of changed) {
    const before = checkpointTensor(stored, name);
    if (before) anew.set(before.name, tensor);
    else added.push(rowsToStream(name, model.tensor(head, "weight").dtype, tensor));
  }
  return shards.map(({ name, metadata, tensors }, i) => ({
    name,
    metadata,
    tensors: [
      ...[...tensors.values()].flatMap((tensor) => {
        // A copy that a checkpoint has of its embedding, and that would be an old one.
        if (tied && tensor.name === `${head}.weight`) return [];
        const rows = anew.get(tensor.name);
        return rows ? rowsToStream(tensor.name, tensor.dtype, rows) : asStored(tensor);
      }),
      ...(i === shards.length - 1 ? added : []),
    ],
  }));
}

function rowsToStream(name: string, dtype: StoredTensor["dtype"], tensor: RowTensor): TensorToStream {
  return {
    ...{ name, dtype, shape: tensor.shape },
    async *pieces() {
      for await (const rows of rowBlocks(tensor)) {
        if (dtype === "F16")
          checkHalves(name, rows, "Use the adapter beside its base: this base is stored in f16.");
        yield fromFloat32(rows, dtype);
      }
    },
  };
}

function asStored(tensor: StoredTensor): TensorToStream {
  const { name, dtype, shape, byteLength } = tensor;
  const read = (start: number, end: number) => tensor.read(start, end);
  return { name, dtype, shape, pieces: () => copyStream({ name, size: byteLength, read }).pieces() };
}

function indexOf(shards: readonly WrittenShard[]): ByteSource {
  const weights = shards.flatMap(({ name, tensors }) =>
    tensors.map((tensor) => [tensor.name, name] as const),
  );
  const total = shards
    .flatMap(({ tensors }) => tensors)
    .reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0);
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(weights) };
  return arraySource(new TextEncoder().encode(`${pythonJson(index)}\n`), INDEX);
}

/** The config with its one key set, and every other byte as it was. */
async function untied(source: ByteSource): Promise<ByteSource> {
  const text = new TextDecoder().decode(await source.read(0, source.size));
  const stated = /("tie_word_embeddings"\s*:\s*)(true|null)/;
  const written = stated.test(text)
    ? text.replace(stated, "$1false")
    : text.replace("{", '{\n  "tie_word_embeddings": false,');
  const changed = arraySource(new TextEncoder().encode(written), source.name);
  if ((await readJsonObject(changed)).tie_word_embeddings === false) return changed;
  throw new FormatError(
    "config-untie",
    `${source.name} does not state tie_word_embeddings once, and the merged model must have it false.`,
    "Set it in the base's config.json as save_pretrained() writes it.",
  );
}
