/** Where the tensors that train lie in the arenas. */
import type { ArenaLayout } from "../graph/arena.ts";
import { loraBiasKey, loraKey, magnitudeKey, startKey } from "../lora/adapterKeys.ts";
import type { Selection } from "../lora/selection.ts";
import type { Model } from "./model.ts";
import type { ModelConfig } from "./modelConfig.ts";
import { modelNames } from "./skeleton.ts";

/** Linear modules that share an input, and so one product and one launch of each low-rank pass. */
function projectionsOf(config: ModelConfig): (readonly string[])[] {
  const { layers, head } = modelNames(config);
  return [...layers.flatMap(({ qkv, output, mlpIn, mlpOut }) => [qkv, [output], mlpIn, [mlpOut]]), [head]];
}

/** Gives every trainable tensor its place. Factors that one kernel reaches together share a chunk. */
export function layOutTrainables(model: Model, selection: Selection, layout: ArenaLayout): void {
  const targets = new Map(selection.lora.map((target) => [target.module.name, target]));
  const { embedding: table, positions } = modelNames(model.config);
  const tables = positions ? [[table], [positions]] : [[table]];
  const tied = selection.lora.some(({ tiedTo }) => tiedTo !== undefined);
  const apart = [...tables, ...projectionsOf(model.config)];
  // The optimizer reaches tied factors together.
  const together = tied ? [[table, modelNames(model.config).head], ...apart.slice(1, -1)] : apart;
  for (const names of together) {
    const adapted = names.flatMap((name) => targets.get(name) ?? []);
    if (adapted.length === 0) continue;
    layout.placeTogether(
      adapted.flatMap(({ module, r, hasBias }) => [
        { name: loraKey(module.name, "lora_A", module.kind), shape: [r, module.inFeatures] },
        { name: loraKey(module.name, "lora_B", module.kind), shape: [module.outFeatures, r] },
        ...(hasBias ? [{ name: loraBiasKey(module.name), shape: [module.outFeatures] }] : []),
      ]),
      adapted
        .filter(({ fromBase }) => fromBase !== null)
        .flatMap(({ module, r }) => [
          { name: startKey(module.name, "lora_A"), shape: [r, module.inFeatures] },
          { name: startKey(module.name, "lora_B"), shape: [module.outFeatures, r] },
        ]),
    );
  }
  for (const { module, hasMagnitude } of selection.lora) {
    if (hasMagnitude) layout.place(magnitudeKey(module.name), [module.outFeatures]);
  }
  for (const { module, parameter, key, tiedTo } of selection.whole) {
    if (tiedTo !== undefined) continue;
    const shape = module.parameters[parameter]!;
    const turned = module.kind === "conv1d" && shape.length === 2 ? [shape[1]!, shape[0]!] : shape;
    layout.place(key, turned);
  }
  for (const { key, module, indices } of selection.tokens) {
    const width = module.parameters.weight![1]!;
    if (!layout.tensors.has(key)) layout.place(key, [indices.length, width]);
  }
  layout.placeConstants();
}
