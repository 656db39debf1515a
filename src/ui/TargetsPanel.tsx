import { Button } from "@radix-ui/themes";
import { Fragment, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { targetSettings } from "../lora/chooseTargets.ts";
import type { PreviewedModule, PreviewFault, TargetPreview } from "../worker/api.ts";
import { bytes, count } from "./format.ts";
import { Panel } from "./Panel.tsx";
import { Problem } from "./Problem.tsx";
import { isLocked, type PageState } from "./pageState.ts";
import { BASIC_KEYS } from "./settings.ts";
import {
  adaptingCostOf,
  blockWords,
  costOf,
  isBlock,
  type LayerBlock,
  modulesOfLayer,
  pickedAfter,
  pickState,
  type TargetRow,
  targetTree,
  trainsWords,
} from "./targetTree.ts";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

/** The model's modules and what trains in them with the settings as they are now. A press adapts one, or leaves it out. */
export function TargetsPanel({ store }: StoreProps) {
  const targets = useStore(store, (state) => state.targets);
  return (
    <Panel title="What trains" aside={targets?.ok && <Sums preview={targets.value} />}>
      <div className="targets-box">
        {targets?.ok === false && <Problem title="The modules cannot be shown" failure={targets} />}
        {targets?.ok && <Tree store={store} preview={targets.value} />}
      </div>
    </Panel>
  );
}

function Sums({ preview: { modules, cost } }: { preview: TargetPreview }) {
  const trained = modules.filter((module) => module.cost.values > 0).length;
  return (
    <span className="quiet small">
      {count(trained)} {trained === 1 ? "module" : "modules"}, {count(cost.values)} values,{" "}
      {bytes(cost.bytes)}
    </span>
  );
}

function Tree({ store, preview }: StoreProps & { preview: TargetPreview }) {
  const hasAdapter = useStore(store, ({ choices }) => choices.adapter !== undefined);
  const locked = useStore(store, ({ phase }) => isLocked(phase));
  const { setLora } = store.getState();
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const { modules } = preview;
  // Basic settings say by themselves what is wrong with them.
  const faults = preview.faults.filter(({ key }) => key === undefined || !BASIC_KEYS.includes(key));
  const pick = (rows: readonly PreviewedModule[]) =>
    setLora(targetSettings(pickedAfter(modules, rows), modules));
  const choice: Choice = { isFixed: hasAdapter || locked, all: modules, pick };
  const tree = targetTree(modules, opened);
  const isOneBlock = tree.filter(isBlock).length === 1;
  const open = (list: string) =>
    setOpened(new Set(opened.has(list) ? [...opened].filter((other) => other !== list) : [...opened, list]));
  return (
    <>
      <p className="quiet small">
        {hasAdapter
          ? "What the adapter that you go on from trains."
          : "Tick what LoRA is to adapt. Memory counts the values, their gradients and AdamW's two moments; with a + it is what a module would add."}
      </p>
      <Faults faults={faults} />
      <table className="targets" aria-label="Modules and what trains in them">
        <thead>
          <tr>
            <th scope="col">Module</th>
            <th scope="col">Trains</th>
            <th scope="col" className="amount">
              Values
            </th>
            <th scope="col" className="amount">
              Memory
            </th>
          </tr>
        </thead>
        {tree.map((node) =>
          isBlock(node) ? (
            <Block
              key={`${node.list} ${node.layers[0]}`}
              block={node}
              choice={choice}
              isShownFirst={isOneBlock}
              isOpened={opened.has(node.list)}
              onOpen={() => open(node.list)}
            />
          ) : (
            <tbody key={node.name}>
              <Row row={node} choice={choice} depth={0} />
            </tbody>
          ),
        )}
      </table>
    </>
  );
}

interface Choice {
  /** Nothing can be picked: the adapter decides, or a run is under way. */
  readonly isFixed: boolean;
  readonly all: readonly PreviewedModule[];
  readonly pick: (rows: readonly PreviewedModule[]) => void;
}

export function Faults({ faults }: { faults: readonly PreviewFault[] }) {
  if (faults.length === 0) return null;
  return (
    <ul className="faults small" aria-label="What is wrong with the choice of modules">
      {faults.map((fault) => (
        <li key={fault.message} className={fault.isRefusal ? "mistake" : "caution"}>
          {faultWords(fault)}
        </li>
      ))}
    </ul>
  );
}

export function faultWords({ message, remedy, alike }: PreviewFault): string {
  const more = alike > 0 ? ` So it is with ${count(alike)} more.` : "";
  return `${message}${more}${remedy && ` ${remedy}`}`;
}

interface BlockProps {
  readonly block: LayerBlock;
  readonly choice: Choice;
  readonly isShownFirst: boolean;
  /** Whether its list's layers stand one by one. */
  readonly isOpened: boolean;
  readonly onOpen: () => void;
}

/** Layers that are alike, or one of them: a line that says what trains in it, and its modules below. */
function Block({ block, choice, isShownFirst, isOpened, onOpen }: BlockProps) {
  const { list, layers, rows } = block;
  const [isShown, setShown] = useState(isShownFirst);
  const modules = rows.flatMap((row) => row.modules);
  const isOn = modules.some(({ lora }) => lora);
  const first = layers[0]!;
  const name = layers.length === 1 ? `layer ${first}` : `layers ${first}–${layers.at(-1)!}`;
  return (
    <tbody>
      <tr className="block">
        <th scope="row" colSpan={2} title={list}>
          <span className="target">
            <Tick
              name={name}
              state={isOn ? "on" : "off"}
              choice={choice}
              onPick={() => choice.pick(modulesOfLayer(choice.all, block))}
            />
            <span>
              <button
                type="button"
                className="fold"
                aria-expanded={isShown}
                onClick={() => setShown(!isShown)}
              >
                {name}
              </button>
              {!isShown && <span className="quiet"> {blockWords(block)}</span>}
            </span>
          </span>
        </th>
        <Costs modules={modules} />
      </tr>
      {isShown && <BlockRows rows={rows} choice={choice} />}
      {isShown && (layers.length > 1 || isOpened) && (
        <tr>
          <td colSpan={4} className="depth-1">
            <Button type="button" size="1" variant="ghost" color="gray" onClick={onOpen}>
              {isOpened ? "Put layers that are alike together" : "Show each layer"}
            </Button>
          </td>
        </tr>
      )}
    </tbody>
  );
}

/** Modules of a layer, those of one container below its name. */
function BlockRows({ rows, choice }: { rows: readonly TargetRow[]; choice: Choice }) {
  return rows.map((row, i) => {
    const container = containerOf(row.name);
    if (container === "") return <Row key={row.name} row={row} choice={choice} depth={1} />;
    const isFirst = i === 0 || containerOf(rows[i - 1]!.name) !== container;
    const inside = rows.filter(({ name }) => containerOf(name) === container);
    return (
      <Fragment key={row.name}>
        {isFirst && (
          <Row
            row={{ name: container, modules: inside.flatMap(({ modules }) => modules) }}
            choice={choice}
            depth={1}
            isContainer
          />
        )}
        <Row row={row} choice={choice} depth={2} />
      </Fragment>
    );
  });
}

function containerOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}

interface RowProps {
  readonly row: TargetRow;
  readonly choice: Choice;
  readonly depth: 0 | 1 | 2;
  readonly isContainer?: boolean;
}

function Row({ row: { name, modules }, choice, depth, isContainer = false }: RowProps) {
  const words = isContainer ? "" : trainsWords(modules[0]!);
  const isTrained = modules.some(({ cost }) => cost.values > 0);
  const hasCosts = !isContainer && (isTrained || adaptingCostOf(modules) !== undefined);
  return (
    <tr className={isTrained ? "" : "quiet"}>
      <th scope="row" className={`depth-${depth}`} colSpan={hasCosts ? (words ? 1 : 2) : 4}>
        <span className="target" title={name}>
          <Tick name={name} state={pickState(modules)} choice={choice} onPick={() => choice.pick(modules)} />
          {depth === 2 ? name.slice(containerOf(name).length + 1) : name}
        </span>
      </th>
      {hasCosts && words && <td>{words}</td>}
      {hasCosts && <Costs modules={modules} />}
    </tr>
  );
}

/** What trains, or what it would add. */
function Costs({ modules }: { modules: readonly PreviewedModule[] }) {
  const cost = costOf(modules);
  const shown = cost.values > 0 ? cost : adaptingCostOf(modules);
  if (!shown) return <td colSpan={2} />;
  const sign = cost.values > 0 ? "" : "+";
  return (
    <>
      <td className="amount">{`${sign}${count(shown.values)}`}</td>
      <td className="amount">{`${sign}${bytes(shown.bytes)}`}</td>
    </>
  );
}

interface TickProps {
  readonly name: string;
  readonly state: "on" | "some" | "off" | "none";
  readonly choice: Choice;
  readonly onPick: () => void;
}

function Tick({ name, state, choice, onPick }: TickProps) {
  return (
    <input
      type="checkbox"
      className={state === "none" ? "unpickable" : undefined}
      aria-label={`Adapt ${name}`}
      checked={state === "on"}
      disabled={choice.isFixed || state === "none"}
      ref={(box) => {
        if (box) box.indeterminate = state === "some";
      }}
      onChange={onPick}
    />
  );
}
