import { Button } from "@radix-ui/themes";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { Problem } from "./Problem.tsx";
import type { PageState } from "./pageState.ts";

/** Why the run is not open, and what can be done about it with one press. */
export function RunProblem({ store }: { store: StoreApi<PageState> }) {
  const problem = useStore(store, (state) => state.problem);
  const isLastOnly = useStore(store, ({ settings }) => settings.train.last_turn_only === true);
  const { set } = store.getState();
  if (!problem) return null;
  return (
    <>
      <Problem title="That did not work" failure={problem} />
      {problem.code === "chat-prefix" && !isLastOnly && (
        <Button variant="soft" onClick={() => set("train", "last_turn_only", true)}>
          Learn the last answer of each conversation only
        </Button>
      )}
    </>
  );
}
