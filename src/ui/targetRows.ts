/** The tree of modules as the rows of a treegrid, and what its keys do. */
import type { PreviewedModule } from "../worker/api.ts";
import { bytes, count } from "./format.ts";
import {
  adaptingCostOf,
  blockWords,
  costOf,
  isBlock,
  type LayerBlock,
  type PickState,
  pickState,
  type TargetNode,
  type TargetRow,
  trainsWords,
} from "./targetTree.ts";

export interface GridRow {
  /** By its level and first module: it stays while layers are put together or apart. */
  readonly id: string;
  /** Counted from 1. */
  readonly level: number;
  /** Below its parent: `q_proj`, `layers 0–5`. */
  readonly label: string;
  /** By itself: `self_attn.q_proj in layers 0–5`. */
  readonly fullName: string;
  readonly modules: readonly PreviewedModule[];
  readonly state: PickState;
  /** Of a group: whether its rows are shown. */
  readonly isExpanded: boolean | undefined;
  /** What trains in it; of a group as long as it is folded. */
  readonly words: string;
  /** The values and bytes that train, or with a + those that it would add; undefined where nothing can. */
  readonly costs: { readonly values: string; readonly bytes: string } | undefined;
  /** Given where the row stands for these layers. */
  readonly block: LayerBlock | undefined;
}

/** Which groups are folded and which are not, by row; the others are as they are at first. */
export type Folds = ReadonlyMap<string, boolean>;

/** The rows that are to be seen. At first the layers at the top of a list are open, and what is in them. */
export function gridRows(nodes: readonly TargetNode[], folds: Folds = new Map()): GridRow[] {
  return nodes.flatMap((node, i) => {
    if (!isBlock(node)) return [moduleRow(node, 1, node.name)];
    const before = nodes[i - 1];
    const isFirst = !before || !isBlock(before) || before.list !== node.list;
    return blockRows(node, folds, isFirst);
  });
}

function blockRows(block: LayerBlock, folds: Folds, opensFirst: boolean): GridRow[] {
  const { layers, rows } = block;
  const modules = rows.flatMap((row) => row.modules);
  const label = layers.length === 1 ? `layer ${layers[0]}` : `layers ${layers[0]}–${layers.at(-1)}`;
  const id = idOf(1, modules);
  const isExpanded = !(folds.get(id) ?? !opensFirst);
  const words = isExpanded ? "" : blockWords(block);
  const row = { id, level: 1, label, fullName: label, isExpanded, words, block, ...factsOf(modules) };
  return isExpanded ? [row, ...insideBlock(rows, folds, label)] : [row];
}

/** Modules of a layer, those of one container below its name. */
function insideBlock(rows: readonly TargetRow[], folds: Folds, layers: string): GridRow[] {
  return rows.flatMap((row, i) => {
    const { container, own } = partsOf(row.name);
    if (container === "") return [moduleRow(row, 2, own, `${own} in ${layers}`)];
    const inside = rows.filter(({ name }) => partsOf(name).container === container);
    const modules = inside.flatMap((one) => one.modules);
    const id = idOf(2, modules);
    const isExpanded = !(folds.get(id) ?? false);
    const isFirst = i === 0 || partsOf(rows[i - 1]!.name).container !== container;
    const names = { label: container, fullName: `${container} in ${layers}` };
    const group = { id, level: 2, ...names, isExpanded, words: "", block: undefined, ...factsOf(modules) };
    return [
      ...(isFirst ? [group] : []),
      ...(isExpanded ? [moduleRow(row, 3, own, `${row.name} in ${layers}`)] : []),
    ];
  });
}

function moduleRow({ modules }: TargetRow, level: number, label: string, fullName = label): GridRow {
  const words = trainsWords(modules[0]!);
  const id = idOf(level, modules);
  return { id, level, label, fullName, isExpanded: undefined, words, block: undefined, ...factsOf(modules) };
}

function factsOf(modules: readonly PreviewedModule[]): Pick<GridRow, "modules" | "state" | "costs"> {
  const cost = costOf(modules);
  const shown = cost.values > 0 ? cost : adaptingCostOf(modules);
  const sign = cost.values > 0 ? "" : "+";
  const costs = shown && { values: `${sign}${count(shown.values)}`, bytes: `${sign}${bytes(shown.bytes)}` };
  return { modules, state: pickState(modules), costs };
}

function idOf(level: number, modules: readonly PreviewedModule[]): string {
  return `${level} ${modules[0]!.name}`;
}

/** `self_attn.q_proj`: the container, and the module's own name in it. */
function partsOf(name: string): { container: string; own: string } {
  const dot = name.lastIndexOf(".");
  return { container: name.slice(0, Math.max(0, dot)), own: name.slice(dot + 1) };
}

/** A row in one line, for whoever hears it alone. */
export function rowWords({ fullName, state, words, costs }: GridRow): string {
  const amounts = costs ? `${costs.values} values, ${costs.bytes}` : "";
  return [fullName, STATE_WORDS[state], words, amounts].filter((part) => part !== "").join(", ");
}

const STATE_WORDS: Readonly<Record<PickState, string>> = {
  ...{ on: "adapted", some: "partly adapted", off: "not adapted", none: "" },
};

/** The place of the row that a row has become once layers were put together or apart, or of the nearest around it. */
export function placeOf(rows: readonly GridRow[], id: string): number {
  const same = rows.findIndex((row) => row.id === id);
  if (same >= 0) return same;
  const space = id.indexOf(" ");
  const [level, module] = [Number(id.slice(0, space)), id.slice(space + 1)];
  const around = rows.findLastIndex(
    (row) => row.level <= level && row.modules.some(({ name }) => name === module),
  );
  return Math.max(0, around);
}

export type KeyEffect = { readonly goTo: string } | { readonly fold: string };

/** What a key does in a row, by WAI-ARIA's pattern of a treegrid whose rows take the focus; undefined: nothing. */
export function effectOf(key: string, rows: readonly GridRow[], at: number): KeyEffect | undefined {
  const goTo = (row: GridRow | undefined) => row && { goTo: row.id };
  const { id, level, isExpanded } = rows[at]!;
  switch (key) {
    case "ArrowDown":
      return goTo(rows[at + 1]);
    case "ArrowUp":
      return goTo(rows[at - 1]);
    case "Home":
      return goTo(rows[0]);
    case "End":
      return goTo(rows.at(-1));
    case "ArrowRight":
      if (isExpanded === undefined) return undefined;
      return isExpanded ? goTo(rows[at + 1]) : { fold: id };
    case "ArrowLeft":
      if (isExpanded) return { fold: id };
      return goTo(rows.slice(0, at).findLast((row) => row.level < level));
    case "Enter":
      return isExpanded === undefined ? undefined : { fold: id };
    default:
      return undefined;
  }
}
