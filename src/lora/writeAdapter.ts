import type { StoredType } from "../base/bytes.ts";
import { ShapeError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { fromFloat32, toFloat32 } from "../formats/floats.ts";
import { type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { CONFIG_FILE, fileEntries, WEIGHTS_FILE } from "./adapterKeys.ts";
import { pythonJson } from "./exportConfig.ts";
import type { LoadedAdapter } from "./readAdapter.ts";
import type { Selection } from "./selection.ts";

/**
 * The files of an adapter as PEFT's save_pretrained writes them: the same bytes for the same tensors.
 * `valuesOf` gives each tensor by PEFT's key; of a `loaded` adapter its copies of the base pass through, and its halves
 * stay halves as long as they hold the values. Once anything has trained, all is f32, as in PEFT.
 */
export async function writeAdapter(
  config: JsonObject,
  selection: Pick<Selection, "lora" | "whole" | "tokens">,
  valuesOf: (key: string) => Float32Array,
  loaded?: Pick<LoadedAdapter, "kept" | "types">,
): Promise<Map<string, Uint8Array>> {
  const entries = fileEntries(selection);
  const storedType = (key: string) => loaded?.types.get(key) ?? "F32";
  const unchanged = entries.every(({ key }) => holds(storedType(key), valuesOf(key)));
  const tensors: TensorToWrite[] = entries.map(({ key, shape }) => {
    const values = valuesOf(key);
    const count = shape.reduce((product, size) => product * size, 1);
    if (values.length !== count) {
      throw new ShapeError("shape-mismatch", `${key} has ${values.length} values, expected [${shape}].`);
    }
    const dtype = unchanged && HALVES.includes(storedType(key)) ? storedType(key) : "F32";
    return { name: key, dtype, shape, bytes: fromFloat32(values, dtype) };
  });
  for (const tensor of loaded?.kept ?? []) {
    tensors.push({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, bytes: await tensor.read() });
  }
  return new Map([
    [CONFIG_FILE, new TextEncoder().encode(pythonJson(config))],
    [WEIGHTS_FILE, writeSafetensors(tensors, { format: "pt" })],
  ]);
}

const HALVES: readonly StoredType[] = ["F16", "BF16"];

/** Whether values come back as they were when they are stored so. */
function holds(dtype: StoredType, values: Float32Array): boolean {
  if (!HALVES.includes(dtype)) return true;
  const again = toFloat32(fromFloat32(values, dtype), dtype);
  return values.every((value, i) => value === again[i]);
}
