import { toFloat32 } from "../formats/floats.ts";
import { CONFIG_FILE } from "./adapterKeys.ts";
import { patternLookup } from "./matching.ts";
import type { AdapterFiles } from "./readAdapter.ts";
import { loraScale } from "./scale.ts";

/**
 * How far two adapters are apart, whatever alphas they spell their scales with: the largest difference of any A and
 * any scale·B, relative to the largest value of that tensor. Infinity where one holds a tensor that the other lacks.
 */
export async function adapterDifference(one: AdapterFiles, other: AdapterFiles): Promise<number> {
  const [found, wanted] = [scaledTensors(one), scaledTensors(other)];
  if (found.size !== wanted.size) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (const [key, read] of wanted) {
    const twin = await found.get(key)?.();
    const values = await read();
    if (twin?.length !== values.length) return Number.POSITIVE_INFINITY;
    let [difference, size] = [0, 0];
    for (let i = 0; i < values.length; i++) {
      difference = Math.max(difference, Math.abs(values[i]! - twin[i]!));
      size = Math.max(size, Math.abs(values[i]!));
    }
    // A B that is still zero has nothing to compare with but zero.
    largest = Math.max(largest, size > 0 ? difference / size : difference);
  }
  return largest;
}

/** A as it is, B times the scale, in float64; without copies of the base's own weights. */
function scaledTensors({ config, tensors }: AdapterFiles): Map<string, () => Promise<Float64Array>> {
  const alphas = patternLookup(config.alpha_pattern, `${CONFIG_FILE}.alpha_pattern`);
  const scaled = new Map<string, () => Promise<Float64Array>>();
  for (const [key, tensor] of tensors) {
    if (!/\.lora_(embedding_)?[AB](\.weight)?$/.test(key)) continue;
    const isB = /\.lora_(embedding_)?B(\.weight)?$/.test(key);
    const module = key.replace(/^base_model\.model\./, "").replace(/\.lora_.*$/, "");
    const alpha = alphas.firstValue(module) ?? config.lora_alpha;
    const factor = isB ? loraScale(alpha, tensor.shape[1]!, config.use_rslora) : 1;
    scaled.set(key, async () =>
      Float64Array.from(toFloat32(await tensor.read(), tensor.dtype), (value) => factor * value),
    );
  }
  return scaled;
}
