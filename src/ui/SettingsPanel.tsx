import { Button } from "@radix-ui/themes";
import { useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { AdapterChoosers } from "./AdapterChoosers.tsx";
import { Chooser } from "./Chooser.tsx";
import { singleFile } from "./files.ts";
import { recommendedFor } from "./material.ts";
import { Panel } from "./Panel.tsx";
import type { PageState } from "./pageState.ts";
import { SettingField } from "./SettingField.tsx";
import { BASIC_KEYS, FORM_FIELDS, fieldOf, type Section, sameSettings } from "./settings.ts";

const ADVANCED: readonly { section: Section; title: string }[] = [
  { section: "lora", title: "LoRA" },
  { section: "train", title: "Training" },
];

interface SettingsPanelProps {
  readonly store: StoreApi<PageState>;
  /** Told whether "Advanced" is open, when that changes. */
  readonly onAdvanced: (isOpen: boolean) => void;
}

/** What the run is to do: the six settings that matter most, and all others behind "Advanced". */
export function SettingsPanel({ store, onAdvanced }: SettingsPanelProps) {
  const isRecommended = useStore(
    store,
    (state) => !state.settingsAreOwn || sameSettings(state.settings, recommendedFor(state.choices)),
  );
  const hasAdapter = useStore(store, ({ choices }) => choices.adapter !== undefined);
  const { useRecommended, readRun } = store.getState();
  return (
    <Panel
      title="Settings"
      aside={
        isRecommended ? (
          <span className="quiet small">as recommended</span>
        ) : (
          <Button size="1" variant="soft" color="gray" onClick={useRecommended}>
            Use what is recommended
          </Button>
        )
      }
    >
      <div className="fields">
        {BASIC_KEYS.map((key) => (
          <SettingField key={key} store={store} field={fieldOf(key)} />
        ))}
      </div>
      <details onToggle={(event) => onAdvanced(event.currentTarget.open)}>
        <summary>Advanced</summary>
        <p className="quiet small">Every setting, by its name in PEFT and in Transformers.</p>
        {ADVANCED.map(({ section, title }) => (
          <div key={section}>
            <h3>{title}</h3>
            {section === "lora" && hasAdapter && (
              <p className="quiet small">
                The adapter that you go on from brings its own settings; under Adapters you can look at them.
              </p>
            )}
            <div className="advanced">
              {FORM_FIELDS.filter(
                (field) => field.section === section && !BASIC_KEYS.includes(field.key),
              ).map((field) => (
                <SettingField key={field.key} store={store} field={field} explains />
              ))}
            </div>
          </div>
        ))}
        <h3>Files</h3>
        <div className="choosers">
          <Chooser
            title="Run file"
            optional
            hint='Settings from a .json file: {"lora": {…}, "train": {…}}.'
            accept=".json"
            chosen={undefined}
            reader={singleFile}
            onChoose={(file) => void readRun(file)}
          />
        </div>
        <h3>An adapter to go on from</h3>
        <GoOnFrom store={store} />
      </details>
    </Panel>
  );
}

function GoOnFrom({ store }: { store: StoreApi<PageState> }) {
  const adapter = useStore(store, ({ choices }) => choices.adapter);
  const { choose } = store.getState();
  /** How many were given last. */
  const [given, setGiven] = useState(0);
  return (
    <div className="choosers">
      <AdapterChoosers
        optional
        chosen={adapter}
        onChoose={(sources) => {
          setGiven(sources.length);
          if (sources.length === 1) choose({ adapter: sources[0] });
        }}
        onClear={() => choose({ adapter: undefined })}
      />
      {given > 1 && (
        <p role="alert" className="small">
          {given} adapters were given; a run goes on from one. Choose one of them. Under Adapters they answer
          together.
        </p>
      )}
    </div>
  );
}
