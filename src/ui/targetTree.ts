/** The modules of a model as a tree to choose from: layers that are alike stand together. */
import { plural } from "../base/words.ts";
import { layerPlace } from "../lora/chooseTargets.ts";
import type { Cost, PreviewedModule } from "../worker/api.ts";
import { shortNumber } from "./format.ts";

/** A module, or the same module of several layers. */
export interface TargetRow {
  /** Within its layer, where it is in one: `self_attn.q_proj`. */
  readonly name: string;
  /** All of them are alike. */
  readonly modules: readonly PreviewedModule[];
}

/** Neighbouring layers in which the same trains in the same way. */
export interface LayerBlock {
  /** What the list of layers is called: `model.layers`. */
  readonly list: string;
  readonly layers: readonly number[];
  readonly rows: readonly TargetRow[];
}

export type TargetNode = TargetRow | LayerBlock;

export function isBlock(node: TargetNode): node is LayerBlock {
  return "layers" in node;
}

/** `isApart`: layers that are alike stand one by one all the same. */
export function targetTree(modules: readonly PreviewedModule[], isApart = false): TargetNode[] {
  const nodes: TargetNode[] = [];
  for (const { list, layer, members } of layersOf(modules.filter(({ kind }) => kind !== "other"))) {
    if (list === undefined) {
      nodes.push(...members.map((module) => ({ name: module.name, modules: [module] })));
      continue;
    }
    const last = nodes.at(-1);
    const block: LayerBlock = {
      list,
      layers: [layer],
      rows: members.map((module) => ({ name: layerPlace(module.name)!.inLayer, modules: [module] })),
    };
    const joins = last && isBlock(last) && last.list === list && !isApart && areAlike(last, block);
    if (joins) nodes[nodes.length - 1] = joined(last, block);
    else nodes.push(block);
  }
  return nodes;
}

interface Layer {
  readonly list: string | undefined;
  readonly layer: number;
  readonly members: PreviewedModule[];
}

/** Modules that stand in no layer are a layer without a list. */
function layersOf(modules: readonly PreviewedModule[]): Layer[] {
  const layers: Layer[] = [];
  for (const module of modules) {
    const { list, layer = 0 } = layerPlace(module.name) ?? {};
    const last = layers.at(-1);
    if (last && last.list === list && last.layer === layer) last.members.push(module);
    else layers.push({ list, layer, members: [module] });
  }
  return layers;
}

function areAlike(a: LayerBlock, b: LayerBlock): boolean {
  const likeness = ({ rows }: LayerBlock) =>
    JSON.stringify(rows.map(({ name, modules }) => ({ ...modules[0], name })));
  return likeness(a) === likeness(b);
}

function joined(a: LayerBlock, b: LayerBlock): LayerBlock {
  return {
    list: a.list,
    layers: [...a.layers, ...b.layers],
    rows: a.rows.map(({ name, modules }, i) => ({ name, modules: [...modules, ...b.rows[i]!.modules] })),
  };
}

export function costOf(modules: readonly PreviewedModule[]): Cost {
  return {
    values: modules.reduce((sum, { cost }) => sum + cost.values, 0),
    bytes: modules.reduce((sum, { cost }) => sum + cost.bytes, 0),
  };
}

/** What adapting them would cost; undefined where it cannot be done. */
export function adaptingCostOf(modules: readonly PreviewedModule[]): Cost | undefined {
  if (modules.some(({ adapting }) => !adapting)) return undefined;
  return {
    values: modules.reduce((sum, { adapting }) => sum + (adapting?.values ?? 0), 0),
    bytes: modules.reduce((sum, { adapting }) => sum + (adapting?.bytes ?? 0), 0),
  };
}

/** What trains in a module, in a few words; "" where nothing does. */
export function trainsWords({ lora, whole, rows, isExcluded }: PreviewedModule): string {
  const words = [
    ...(lora ? [`${rankWords(lora.r)}, α\u00a0${shortNumber(lora.alpha)}`] : []),
    ...(lora || whole.length === 0 ? whole : [`whole ${whole.join(", ")}`]),
    ...(rows > 0 ? [`${rows}\u00a0${plural(rows, "row")}`] : []),
  ];
  return words.join(" + ") || (isExcluded ? "excluded" : "");
}

/** What trains in a block: `q_proj, v_proj r 8`. */
export function blockWords({ rows }: LayerBlock): string {
  const names = new Map<string, string[]>();
  for (const { name, modules } of rows) {
    const { lora, whole } = modules[0]!;
    if (!lora && whole.length === 0) continue;
    const how = lora ? rankWords(lora.r) : "whole";
    names.set(how, [...(names.get(how) ?? []), name.split(".").at(-1)!]);
  }
  const words = [...names].map(([how, which]) => `${which.join(", ")}\u00a0${how}`);
  return words.join("; ") || "nothing";
}

function rankWords(r: number): string {
  return `r\u00a0${r}`;
}

/** Whether modules are adapted; "none" where none of them can be. */
export type PickState = "on" | "some" | "off" | "none";

export function pickState(modules: readonly PreviewedModule[]): PickState {
  const free = modules.filter(({ adapting, isExcluded }) => adapting && !isExcluded);
  if (free.length === 0) return "none";
  const count = free.filter(({ lora }) => lora).length;
  return count === 0 ? "off" : count === free.length ? "on" : "some";
}

/** The names of adapted modules once these are picked, or left out where all of them are adapted. */
export function pickedAfter(all: readonly PreviewedModule[], rows: readonly PreviewedModule[]): Set<string> {
  const adapted = new Set(all.filter(({ lora }) => lora).map(({ name }) => name));
  const isOn = pickState(rows) === "on";
  for (const { name, adapting, isExcluded } of rows) {
    if (isOn) adapted.delete(name);
    else if (adapting && !isExcluded) adapted.add(name);
  }
  return adapted;
}

/** What a press on a layer is about: the kinds of modules that are adapted in other layers, or all that can be. */
export function modulesOfLayer(
  all: readonly PreviewedModule[],
  block: LayerBlock,
): readonly PreviewedModule[] {
  const here = block.rows.flatMap(({ modules }) => modules);
  const adapted = here.filter(({ lora }) => lora);
  if (adapted.length > 0) return adapted;
  const kinds = new Set(all.filter(({ lora }) => lora).map(({ name }) => layerPlace(name)?.inLayer));
  const alike = here.filter(({ name }) => kinds.has(layerPlace(name)?.inLayer));
  return alike.length > 0 ? alike : here;
}
