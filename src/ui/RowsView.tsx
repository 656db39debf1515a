import { useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { Actions } from "./Actions.tsx";
import { Learning } from "./Learning.tsx";
import { Lengths } from "./Lengths.tsx";
import { Panel } from "./Panel.tsx";
import { Problem } from "./Problem.tsx";
import { isLocked, type PageState } from "./pageState.ts";
import { RowDetail } from "./RowDetail.tsx";
import { RowGrid } from "./RowGrid.tsx";
import { RunProblem } from "./RunProblem.tsx";

/** Every row, as it stands in its file and as the model reads it; what is learnt of it, and what a cut costs. */
export function RowsView({ store }: { store: StoreApi<PageState> }) {
  const facts = useStore(store, (state) => state.facts);
  const problem = useStore(store, (state) => state.dataProblem);
  const locked = useStore(store, ({ phase }) => isLocked(phase));
  const [chosen, setChosen] = useState(0);
  if (!facts) {
    return (
      <Panel title="Rows">
        {problem && <Problem title="The rows cannot be read" failure={problem} />}
        <p className="quiet">There are no rows yet. Choose a data set, or give your own, under Train.</p>
      </Panel>
    );
  }
  // Rows may have been removed.
  const record = Math.min(chosen, facts.records - 1);
  return (
    <div className="data-view">
      <div className="results">
        {problem && <Problem title="These rows are not trained on as things stand" failure={problem} />}
        <RunProblem store={store} />
        <RowGrid store={store} facts={facts} chosen={record} onChoose={setChosen} locked={locked} />
        {record >= 0 && (
          <RowDetail store={store} facts={facts} record={record} onChoose={setChosen} locked={locked} />
        )}
      </div>
      <div className="results">
        <Actions store={store} />
        <fieldset className="setup" disabled={locked} aria-label="What is learnt of the rows">
          <Lengths store={store} />
          <Learning store={store} />
        </fieldset>
      </div>
    </div>
  );
}
