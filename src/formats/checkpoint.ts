import type { FileSet, StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { JsonFault, JsonReader } from "./json-reader.ts";
import { MAX_HEADER_BYTES, openSafetensors } from "./safetensors.ts";

export const SINGLE = "model.safetensors";
export const INDEX = "model.safetensors.index.json";
const REMEDY = "Put all files of the model into one folder, as downloaded.";

/** A file of weights, with those of its tensors that count. */
export interface Shard {
  readonly name: string;
  /** The `__metadata__` of its header. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** The tensors of a checkpoint by name, from one safetensors file or from the shards of an index. */
export async function openCheckpointTensors(files: FileSet): Promise<ReadonlyMap<string, StoredTensor>> {
  return new Map((await openShards(files)).flatMap(({ tensors }) => [...tensors]));
}

/** A checkpoint's files of weights: the single one, or those of the index in its order. */
export async function openShards(files: FileSet): Promise<Shard[]> {
  // Transformers, too, takes the single file where both are there.
  const single = files.open(SINGLE);
  if (single) return [{ name: SINGLE, ...(await openSafetensors(single)) }];
  const index = files.open(INDEX);
  if (!index) return refuseWithoutWeights(files);
  if (index.size > MAX_HEADER_BYTES) {
    throw new FormatError(
      "index-too-large",
      `${INDEX} has ${index.size} bytes, ${MAX_HEADER_BYTES} are allowed.`,
    );
  }
  return shardsOf(files, parseIndex(await index.read(0, index.size)));
}

async function shardsOf(files: FileSet, weightMap: ReadonlyMap<string, string>): Promise<Shard[]> {
  const shards: Shard[] = [];
  const seen = new Set<string>();
  for (const name of new Set(weightMap.values())) {
    const source = files.open(name);
    if (!source) {
      throw new FormatError(
        "shard-missing",
        `${INDEX} names the file "${name}", which is not there.`,
        REMEDY,
      );
    }
    const { metadata, tensors: stored } = await openSafetensors(source);
    const tensors = new Map<string, StoredTensor>();
    for (const [key, tensor] of stored) {
      const home = weightMap.get(key);
      if (home !== undefined && home !== name) continue;
      if (seen.has(key)) {
        const found = `Tensor "${key}" is in two shards and the index does not say which counts.`;
        throw new FormatError("shard-twice", found, REMEDY);
      }
      // What the index leaves out but a shard holds is loaded all the same, as Transformers does.
      seen.add(key);
      tensors.set(key, tensor);
    }
    shards.push({ name, metadata, tensors });
  }
  for (const [key, shard] of weightMap) {
    if (!seen.has(key)) {
      const found = `${INDEX} says that "${shard}" holds tensor "${key}", but it does not.`;
      throw new FormatError("shard-lacks-tensor", found, REMEDY);
    }
  }
  return shards;
}

function parseIndex(bytes: Uint8Array): Map<string, string> {
  const reader = new JsonReader(bytes);
  let weightMap: Map<string, string> | undefined;
  try {
    reader.object((key) => {
      if (key !== "weight_map") return reader.skip();
      if (weightMap) throw new FormatError("index-duplicate", `${INDEX} has two weight maps.`, REMEDY);
      const map = new Map<string, string>();
      weightMap = map;
      reader.object((name) => {
        if (map.has(name)) {
          throw new FormatError(
            "index-duplicate",
            `${INDEX} lists tensor ${JSON.stringify(name)} twice.`,
            REMEDY,
          );
        }
        if (reader.peek() !== '"') {
          const found = `${INDEX} puts tensor ${JSON.stringify(name)} in no file.`;
          throw new FormatError("index-no-shard", found, REMEDY);
        }
        map.set(name, checkShardName(reader.string()));
      });
    });
    reader.end();
  } catch (thrown) {
    if (thrown instanceof JsonFault)
      throw new FormatError("index-json", `${INDEX} cannot be read: ${thrown.detail}.`, REMEDY);
    throw thrown;
  }
  if (!weightMap?.size) throw new FormatError("index-empty", `${INDEX} has no weight_map.`, REMEDY);
  return weightMap;
}

/** A shard is a file beside the index: no path, no address. */
function checkShardName(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (name !== "" && name !== "." && !name.includes("..") && !/[/\\:\u0000-\u001f]/.test(name)) return name;
  const found = `${INDEX} names the file ${JSON.stringify(name)}; shards lie beside the index, without a path.`;
  throw new FormatError("shard-name", found, "Do not use this model: its index points elsewhere.");
}

function refuseWithoutWeights(files: FileSet): never {
  const pickle = files.names().find((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  if (pickle) {
    const why = `${files.label} has its weights in "${pickle}", a Python pickle, which runs code when it is opened.`;
    throw new FormatError("pickle", why, "Save the model with save_pretrained(), which writes safetensors.");
  }
  const found = `${files.label} has neither ${SINGLE} nor ${INDEX}.`;
  throw new FormatError("no-weights", found, REMEDY);
}
