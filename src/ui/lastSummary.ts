import { useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { RunSummary } from "../worker/api.ts";
import type { PageState } from "./pageState.ts";

/** That of the open run; while another is being opened, of the one before, so that nothing on the page jumps. */
export function useLastSummary(store: StoreApi<PageState>): RunSummary | undefined {
  const now = useStore(store, (state) => state.summary);
  const hasRows = useStore(store, ({ facts, dataProblem }) => facts !== undefined && !dataProblem);
  const [before, setBefore] = useState(now);
  if (now && now !== before) setBefore(now);
  return now ?? (hasRows ? before : undefined);
}
