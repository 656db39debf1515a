import { useId } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { Chooser } from "./Chooser.tsx";
import { packingWords } from "./dataWords.ts";
import { singleFile } from "./files.ts";
import { count, counted } from "./format.ts";
import { useLastSummary } from "./lastSummary.ts";
import { Panel } from "./Panel.tsx";
import type { PageState } from "./pageState.ts";
import { SettingField } from "./SettingField.tsx";
import type { Settings } from "./settings.ts";
import { fieldOf, settingOf } from "./settings.ts";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

/** What of the rows is learnt, how they are written and cut, and what that comes to. */
export function Learning({ store }: StoreProps) {
  const template = useStore(store, ({ choices }) => choices.chatTemplate);
  const { choose } = store.getState();
  return (
    <Panel title="What is learnt">
      <Totals store={store} />
      <WhatIsLearnt store={store} />
      <div className="fields">
        <SettingField store={store} field={fieldOf("max_length")} />
        <SettingField store={store} field={fieldOf("truncation_mode")} />
        <SettingField store={store} field={fieldOf("packing")} />
      </div>
      <Chooser
        title="Chat template"
        optional
        hint="The model's own, or a plain one where it has none. Choose a .jinja file to use another."
        accept=".jinja,.txt"
        chosen={template?.name}
        reader={singleFile}
        onChoose={(file) => choose({ chatTemplate: file })}
        onClear={() => choose({ chatTemplate: undefined })}
      />
    </Panel>
  );
}

function Totals({ store }: StoreProps) {
  const summary = useLastSummary(store);
  const packing = useStore(store, ({ settings }) => settingOf(settings, fieldOf("packing")) === true);
  if (!summary) return <p className="quiet">—</p>;
  const { rows, warnings } = summary;
  return (
    <>
      <p className="small">
        {counted(rows.used, "row")}, {count(rows.tokens)} tokens, {count(rows.targets)} of them learnt.
      </p>
      <p className="small">{packingWords(summary, packing)}</p>
      {rows.leftOut > 0 && (
        <details>
          <summary>{counted(rows.leftOut, "row")} left out: nothing would be learnt</summary>
          <ul className="faults small">
            {rows.faults.map(({ line, message }) => (
              <li key={`${line} ${message}`}>{message}</li>
            ))}
          </ul>
        </details>
      )}
      {warnings.length > 0 && (
        <ul className="warnings small" aria-label="Notes">
          {warnings.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
      )}
    </>
  );
}

const KINDS = {
  answers: {
    words: "Answers, every one",
    train: { assistant_only_loss: true, last_turn_only: false, completion_only_loss: null },
  },
  last: {
    words: "The last answer of each conversation",
    train: { assistant_only_loss: true, last_turn_only: true, completion_only_loss: null },
  },
  everything: {
    words: "Everything, questions too",
    train: { assistant_only_loss: false, last_turn_only: false, completion_only_loss: false },
  },
} as const;
type Kind = keyof typeof KINDS;

function kindOf(settings: Settings): Kind | undefined {
  const isSet = (kind: Kind) =>
    Object.entries(KINDS[kind].train).every(([key, value]) => settingOf(settings, fieldOf(key)) === value);
  return (Object.keys(KINDS) as Kind[]).find(isSet);
}

/** Three keys of the run file as the choice that people think of; other combinations stay as they are. */
function WhatIsLearnt({ store }: StoreProps) {
  const kind = useStore(store, ({ settings }) => kindOf(settings));
  const { set } = store.getState();
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id} className="small">
        What is learnt
      </label>
      <select
        id={id}
        className="select"
        value={kind ?? ""}
        onChange={({ target }) => {
          for (const [key, value] of Object.entries(KINDS[target.value as Kind].train))
            set("train", key, value);
        }}
      >
        {kind === undefined && <option value="">As the run file says</option>}
        {Object.entries(KINDS).map(([name, { words }]) => (
          <option key={name} value={name}>
            {words}
          </option>
        ))}
      </select>
      <p className="quiet small">Plain texts are always learnt whole.</p>
    </div>
  );
}
