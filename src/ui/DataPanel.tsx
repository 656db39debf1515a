import { RadioCards } from "@radix-ui/themes";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { BUNDLED_SETS, type BundledSet } from "../data/bundled.ts";
import { bundledSetOf } from "./material.ts";
import { OwnData } from "./OwnData.tsx";
import { OwnRows } from "./OwnRows.tsx";
import { Panel } from "./Panel.tsx";
import { Problem } from "./Problem.tsx";
import type { PageState } from "./pageState.ts";
import { RowList } from "./RowList.tsx";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

const OWN = "own";

/** A bundled data set, or text and files of the user's own. */
export function DataPanel({ store }: StoreProps) {
  const choices = useStore(store, (state) => state.choices);
  const choose = useStore(store, (state) => state.choose);
  const set = bundledSetOf(choices);
  return (
    <Panel title="Data">
      <RadioCards.Root
        size="1"
        columns="1"
        className="sets"
        aria-label="Data set"
        value={set?.id ?? OWN}
        onValueChange={(id) => choose({ data: id === OWN ? { kind: "written" } : { kind: "bundled", id } })}
      >
        {BUNDLED_SETS.map(({ id, title }) => (
          <RadioCards.Item key={id} value={id}>
            {title}
          </RadioCards.Item>
        ))}
        <RadioCards.Item value={OWN}>Your own</RadioCards.Item>
      </RadioCards.Root>
      {set ? <BundledData store={store} set={set} /> : <OwnData store={store} />}
    </Panel>
  );
}

function BundledData({ store, set }: StoreProps & { set: BundledSet }) {
  const shown = useStore(store, (state) => state.facts?.preview);
  const problem = useStore(store, (state) => state.dataProblem);
  return (
    <>
      <p>{set.shows}</p>
      {problem && <Problem title="The rows cannot be used" failure={problem} />}
      <RowList rows={shown ?? []} />
      {set.metric === "exact-match" && <OwnRows store={store} />}
      <p className="quiet small">
        {set.source}. {set.licence}.
      </p>
    </>
  );
}
