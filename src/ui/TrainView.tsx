import { useEffect, useRef, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { Actions } from "./Actions.tsx";
import { Answers } from "./Answers.tsx";
import { DataPanel } from "./DataPanel.tsx";
import { ModelPanel } from "./ModelPanel.tsx";
import { Progressing } from "./Progressing.tsx";
import { isLocked, type PageState } from "./pageState.ts";
import { RunProblem } from "./RunProblem.tsx";
import { Samples } from "./Samples.tsx";
import { Scores } from "./Scores.tsx";
import { SettingsPanel } from "./SettingsPanel.tsx";
import { Summary } from "./Summary.tsx";
import { TargetsPanel } from "./TargetsPanel.tsx";
import { AuditProblem } from "./Trainables.tsx";

/** From the choice of a model and data to the adapter. */
export function TrainView({ store }: { store: StoreApi<PageState> }) {
  const locked = useStore(store, ({ phase }) => isLocked(phase));
  const [isAdvancedOpen, setAdvancedOpen] = useState(false);
  const results = useRef<HTMLDivElement>(null);
  useEffect(
    () =>
      store.subscribe(({ phase }, before) => {
        if (phase !== "preparing" || before.phase === phase || !results.current) return;
        // In one column the run goes on far below its settings.
        const isBelow = results.current.getBoundingClientRect().top > window.innerHeight / 2;
        if (isBelow) results.current.scrollIntoView();
      }),
    [store],
  );
  return (
    <div className="train">
      <div className="side">
        <fieldset className="setup" disabled={locked} aria-label="What to train, and how">
          <DataPanel store={store} />
          <ModelPanel store={store} />
          <SettingsPanel store={store} onAdvanced={setAdvancedOpen} />
        </fieldset>
        <TargetsPanel store={store} isAdvancedOpen={isAdvancedOpen} />
      </div>
      <Actions store={store} />
      <div className="results" ref={results}>
        <RunProblem store={store} />
        <AuditProblem store={store} />
        <Progressing store={store} />
        <Samples store={store} />
        <Answers store={store} />
        <Scores store={store} />
        <Summary store={store} />
      </div>
    </div>
  );
}
