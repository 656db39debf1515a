import type { FileSet, StoredTensor } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { JsonFault, JsonReader } from "./json-reader.ts";
import { MAX_HEADER_BYTES, openSafetensors } from "./safetensors.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const REMEDY = "Put all files of the model into one folder, as downloaded.";

/** The tensors of a checkpoint by name, from one safetensors file or from the shards of an index. */
export async function openCheckpointTensors(files: FileSet): Promise<ReadonlyMap<string, StoredTensor>> {
  // Transformers, too, takes the single file where both are there.
  const single = files.open(SINGLE);
  if (single) return (await openSafetensors(single)).tensors;
  const index = files.open(INDEX);
  if (!index) return refuseWithoutWeights(files);
  if (index.size > MAX_HEADER_BYTES) {
    throw new FormatError(
      "index-too-large",
      `${INDEX} has ${index.size} bytes, ${MAX_HEADER_BYTES} are allowed.`,
    );
  }
  const weightMap = parseIndex(await index.read(0, index.size));
  return openShards(files, weightMap);
}

async function openShards(
  files: FileSet,
  weightMap: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, StoredTensor>> {
  const tensors = new Map<string, StoredTensor>();
  for (const shard of new Set(weightMap.values())) {
    const source = files.open(shard);
    if (!source) {
      throw new FormatError(
        "shard-missing",
        `${INDEX} names the file "${shard}", which is not there.`,
        REMEDY,
      );
    }
    for (const [name, tensor] of (await openSafetensors(source)).tensors) {
      const home = weightMap.get(name);
      if (home !== undefined && home !== shard) continue;
      if (tensors.has(name)) {
        const found = `Tensor "${name}" is in two shards and the index does not say which counts.`;
        throw new FormatError("shard-twice", found, REMEDY);
      }
      // What the index leaves out but a shard holds is loaded all the same, as Transformers does.
      tensors.set(name, tensor);
    }
  }
  for (const [name, shard] of weightMap) {
    if (!tensors.has(name)) {
      const found = `${INDEX} says that "${shard}" holds tensor "${name}", but it does not.`;
      throw new FormatError("shard-lacks-tensor", found, REMEDY);
    }
  }
  return tensors;
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
