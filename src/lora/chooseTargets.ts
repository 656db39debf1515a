/** The way back: from modules that someone picked to the settings that take them. */
import { CONDENSED_FROM, endsInEntry, fewestEndings } from "./endings.ts";
import { withContainers } from "./modules.ts";
import type { PreviewedModule } from "./preview.ts";

/** The settings that together say which modules are adapted. */
export type TargetSettings = {
  target_modules: string[];
  layers_to_transform: number[] | null;
  layers_pattern: null;
};

/** A module's place in a list of layers: `model.layers`, 3, `self_attn.q_proj`. */
export interface LayerPlace {
  readonly list: string;
  readonly layer: number;
  readonly inLayer: string;
}

export function layerPlace(name: string): LayerPlace | undefined {
  const match = /^(.*?)\.(\d+)\.(.+)$/.exec(name);
  return match ? { list: match[1]!, layer: Number(match[2]), inLayer: match[3]! } : undefined;
}

/**
 * The settings that adapt `wanted` and nothing else: kinds of modules in all layers, or in those of
 * layers_to_transform, or modules one by one where they are too mixed for that. What is excluded stays so, whatever they say.
 */
export function targetSettings(
  wanted: ReadonlySet<string>,
  modules: readonly Pick<PreviewedModule, "name" | "isExcluded">[],
): TargetSettings {
  const excluded = new Set(modules.filter(({ isExcluded }) => isExcluded).map(({ name }) => name));
  const names = withContainers(modules.map(({ name }) => name));
  const othersThan = (taken: ReadonlySet<string>) =>
    names.filter((name) => !taken.has(name) && !excluded.has(name));
  /** In the order of the model. */
  const endingsOf = (taken: ReadonlySet<string>): string[] => {
    const endings = fewestEndings([...taken], othersThan(taken));
    const place = (ending: string) => names.findIndex((name) => taken.has(name) && endsInEntry(name, ending));
    return endings.sort((a, b) => place(a) - place(b));
  };
  const everywhere = endingsOf(wanted);
  const plain: TargetSettings = {
    ...{ target_modules: everywhere, layers_to_transform: null, layers_pattern: null },
  };

  const inLayers = [...wanted].filter((name) => layerPlace(name));
  const layers = new Set(inLayers.map((name) => layerPlace(name)!.layer));
  const kinds = new Set(inLayers.map((name) => layerPlace(name)!.inLayer));
  /** Every module of these kinds, in whatever layer. */
  const ofKinds = new Set(names.filter((name) => kinds.has(layerPlace(name)?.inLayer ?? "")));
  const isGrid = [...ofKinds].every(
    (name) => excluded.has(name) || wanted.has(name) === layers.has(layerPlace(name)!.layer),
  );
  // A whole name is taken in whatever layer it is, or in none.
  const outside = [...wanted].filter((name) => !layerPlace(name));
  const entries = [...endingsOf(ofKinds), ...outside];
  const isPartial = [...ofKinds].some((name) => !wanted.has(name) && !excluded.has(name));
  const isShort = entries.length <= everywhere.length && entries.length < CONDENSED_FROM;
  if (!isGrid || !isPartial || !isShort) return plain;
  return { ...plain, target_modules: entries, layers_to_transform: [...layers].sort((a, b) => a - b) };
}
