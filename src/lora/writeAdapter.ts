import type { StoredTensor } from "../base/bytes.ts";
import { ShapeError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { adapterEntries, CONFIG_FILE, WEIGHTS_FILE } from "./adapterKeys.ts";
import { pythonJson } from "./exportConfig.ts";
import type { Selection } from "./targets.ts";

/**
 * The files of an adapter as PEFT's save_pretrained writes them: the same bytes for the same tensors.
 * `valuesOf` gives each tensor by PEFT's key; `kept` are tensors of the loaded adapter that pass through.
 */
export async function writeAdapter(
  config: JsonObject,
  selection: Pick<Selection, "lora" | "whole" | "tokens">,
  valuesOf: (key: string) => Float32Array,
  kept: readonly StoredTensor[] = [],
): Promise<Map<string, Uint8Array>> {
  const tensors: TensorToWrite[] = adapterEntries(selection).map(({ key, shape }) => {
    const values = valuesOf(key);
    const count = shape.reduce((product, size) => product * size, 1);
    if (values.length !== count) {
      throw new ShapeError("shape-mismatch", `${key} has ${values.length} values, expected [${shape}].`);
    }
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return { name: key, dtype: "F32", shape, bytes };
  });
  for (const tensor of kept) {
    tensors.push({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, bytes: await tensor.read() });
  }
  return new Map([
    [CONFIG_FILE, new TextEncoder().encode(pythonJson(config))],
    [WEIGHTS_FILE, writeSafetensors(tensors, { format: "pt" })],
  ]);
}
