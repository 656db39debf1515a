import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { PageState } from "./pageState.ts";

/** Stands where the chart will be. */
export function Preparing({ store }: { store: StoreApi<PageState> }) {
  const phase = useStore(store, (state) => state.phase);
  const canTrain = useStore(store, ({ device }) => device?.ok !== false);
  const words =
    phase === "preparing"
      ? "The model is loaded and its kernels are compiled. The first step follows."
      : `${canTrain ? "Press Train: the" : "The"} losses are drawn here, step by step.`;
  return <p className="chart empty quiet">{words}</p>;
}
