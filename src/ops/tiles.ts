/** The tile table: which form of a matrix product suits a device and a shape. Every row is tested. */
import type { DeviceTraits } from "../gpu/device.ts";

/**
 * `quad`: 16 × 16 results a workgroup of four, for devices with subgroups; `shared`: 4·side × 4·side results a
 * workgroup of side²; `plain`: 4 × 4 results an invocation, for widths that are no multiple of four.
 */
export type Tile =
  | { readonly form: "quad" }
  | { readonly form: "shared"; readonly side: number }
  | { readonly form: "plain" };

export const tiles = {
  plain: { form: "plain" },
  software: { form: "quad" },
  // Four times the results for each value staged, where there are tiles enough to fill a GPU …
  gpuLarge: { form: "shared", side: 16 },
  // … and smaller tiles where there are not.
  gpuSmall: { form: "shared", side: 8 },
} as const satisfies Record<string, Tile>;

/**
 * Invocations that share a row where rows are summed: a software device is slow at barriers, so few, but where a row
 * is as long as a vocabulary more of them, for the sum's exactness.
 */
export function rowLanes(traits: DeviceTraits): number {
  return traits.deviceClass === "software" ? 4 : 64;
}

export function vocabularyLanes(traits: DeviceTraits): number {
  return traits.deviceClass === "software" ? 32 : 256;
}

/** Results per workgroup below which a product of few tiles is spread over smaller ones. */
const LARGE_TILES = 64;

/** The tile for a product of `down` × `across` results. `aligned`: every width is a multiple of four. */
export function tileFor(traits: DeviceTraits, down: number, across: number, aligned: boolean): Tile {
  if (!aligned) return tiles.plain;
  if (traits.tile) return tiles[traits.tile];
  if (traits.deviceClass === "software") return traits.subgroups ? tiles.software : tiles.plain;
  return Math.ceil(down / 64) * Math.ceil(across / 64) >= LARGE_TILES ? tiles.gpuLarge : tiles.gpuSmall;
}

export function tileOverrides(tile: Tile): Record<string, number> {
  return tile.form === "shared" ? { SIDE: tile.side } : {};
}

/** Workgroups for `down` × `across` results: 64 plain tiles each, or one of the others. */
export function tileGroups(tile: Tile, down: number, across: number): number {
  if (tile.form === "plain") return Math.ceil((Math.ceil(down / 4) * Math.ceil(across / 4)) / 64);
  const side = tile.form === "quad" ? 16 : 4 * tile.side;
  return Math.ceil(down / side) * Math.ceil(across / side);
}
