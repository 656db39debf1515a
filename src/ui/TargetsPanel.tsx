import { Button } from "@radix-ui/themes";
import { useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { targetSettings } from "../lora/chooseTargets.ts";
import type { PreviewFault, TargetPreview } from "../worker/api.ts";
import { bytes, count, counted } from "./format.ts";
import { Panel } from "./Panel.tsx";
import { Problem } from "./Problem.tsx";
import { isLocked, isOfAdapter, type PageState } from "./pageState.ts";
import { BASIC_KEYS, FORM_FIELDS, type FormField } from "./settings.ts";
import { TargetGrid } from "./TargetGrid.tsx";
import { type Folds, type GridRow, gridRows } from "./targetRows.ts";
import { isBlock, modulesOfLayer, pickedAfter, targetTree } from "./targetTree.ts";

interface TargetsPanelProps {
  readonly store: StoreApi<PageState>;
  /** Then what is wrong with a setting there stands beside it. */
  readonly isAdvancedOpen: boolean;
}

/** The model's modules and what trains in them with the settings as they are now. A press adapts one, or leaves it out. */
export function TargetsPanel({ store, isAdvancedOpen }: TargetsPanelProps) {
  const targets = useStore(store, (state) => state.targets);
  return (
    <Panel title="What trains" aside={targets?.ok && <Sums preview={targets.value} />}>
      <div className="targets-box">
        {!targets && <p className="quiet small">Reading the model…</p>}
        {targets?.ok === false && <Problem title="The modules cannot be shown" failure={targets} />}
        {targets?.ok && <Tree store={store} isAdvancedOpen={isAdvancedOpen} preview={targets.value} />}
      </div>
    </Panel>
  );
}

function Sums({ preview: { modules, cost } }: { preview: TargetPreview }) {
  const trained = modules.filter((module) => module.cost.values > 0).length;
  return (
    <span className="quiet small">
      {counted(trained, "module")}, {count(cost.values)} values, {bytes(cost.bytes)}
    </span>
  );
}

function Tree({ store, isAdvancedOpen, preview }: TargetsPanelProps & { preview: TargetPreview }) {
  const hasAdapter = useStore(store, ({ choices }) => choices.adapter !== undefined);
  const locked = useStore(store, ({ phase }) => isLocked(phase));
  const { setLora } = store.getState();
  const [isApart, setApart] = useState(false);
  const [folds, setFolds] = useState<Folds>(new Map());
  const { modules } = preview;
  const tree = targetTree(modules, isApart);
  const hasAlike = isApart || tree.some((node) => isBlock(node) && node.layers.length > 1);
  const pick = ({ block, modules: rows }: GridRow) => {
    const picked = block ? modulesOfLayer(modules, block) : rows;
    setLora(targetSettings(pickedAfter(modules, picked), modules));
  };
  return (
    <>
      <p className="quiet small">{aboutWords(hasAdapter, locked)}</p>
      <Faults store={store} isAdvancedOpen={isAdvancedOpen} faults={preview.faults} />
      {hasAlike && (
        <Button
          type="button"
          size="1"
          variant="soft"
          color="gray"
          className="start"
          onClick={() => setApart(!isApart)}
        >
          {isApart ? "Put layers that are alike together" : "Show each layer"}
        </Button>
      )}
      <TargetGrid
        rows={gridRows(tree, folds)}
        isFixed={hasAdapter || locked}
        onPick={pick}
        onFold={({ id, isExpanded }) => setFolds(new Map(folds).set(id, isExpanded === true))}
      />
    </>
  );
}

function aboutWords(hasAdapter: boolean, locked: boolean): string {
  if (hasAdapter) return "What the adapter that you go on from trains.";
  if (locked) return "What the run trains. It can be changed once the run has ended.";
  return "Tick what LoRA is to adapt. Memory counts the values, their gradients and AdamW's two moments; with a + it is what a module would add. What has no box is no matrix: modules_to_save, under Advanced, trains it whole.";
}

/** What is wrong with settings that are out of sight; beside the others it stands by itself. */
function Faults({ store, isAdvancedOpen, faults }: TargetsPanelProps & { faults: readonly PreviewFault[] }) {
  const choices = useStore(store, (state) => state.choices);
  const settings = useStore(store, (state) => state.settings);
  const loraIsOfRun = useStore(store, (state) => state.loraIsOfRun);
  const isSeen = (field: FormField) =>
    BASIC_KEYS.includes(field.key) ||
    (isAdvancedOpen && !isOfAdapter({ choices, settings, loraIsOfRun }, field));
  const told = faults.filter(({ key }) => !FORM_FIELDS.some((field) => field.key === key && isSeen(field)));
  if (told.length === 0) return null;
  return (
    <ul className="faults small" aria-label="What is wrong with the choice of modules">
      {told.map((fault) => (
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
