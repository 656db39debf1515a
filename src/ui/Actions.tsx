import { Button, Card } from "@radix-ui/themes";
import { useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { save, zipped } from "./download.ts";
import { Exports } from "./Exports.tsx";
import { checkWords } from "./exportWords.ts";
import { count } from "./format.ts";
import { isTraining, type PageState } from "./pageState.ts";
import { PROGRESS_WORDS } from "./progressWords.ts";
import { fieldOf, labelOf } from "./settings.ts";

/** The buttons, and in one line how things stand. */
export function Actions({ store }: { store: StoreApi<PageState> }) {
  const phase = useStore(store, (state) => state.phase);
  const possible = useStore(
    store,
    ({ device, mistakes }) => device?.ok !== false && Object.keys(mistakes).length === 0,
  );
  const adapter = useStore(store, (state) => state.adapter);
  const [isExporting, setExporting] = useState(false);
  const word = useStore(store, trainWord);
  const status = useStore(store, statusWords);
  const { train, pause, stop, takeAdapter, saved } = store.getState();
  const trains = isTraining(phase);
  const busy = phase === "opening" || trains;
  const download = async () => {
    const taken = await takeAdapter();
    if (!taken) return;
    save(zipped(taken.files), taken.name);
    if (phase !== "paused") saved();
  };
  return (
    <div className="actions">
      <Card size="2">
        <div className="buttons">
          <Button size="3" disabled={!possible || busy} onClick={() => void train()}>
            {word}
          </Button>
          <Button size="3" variant="soft" color="gray" disabled={phase !== "training"} onClick={pause}>
            Pause
          </Button>
          <Button size="3" variant="soft" color="gray" disabled={!busy && phase !== "paused"} onClick={stop}>
            Stop
          </Button>
          <Button
            size="3"
            variant="outline"
            title={adapter && phase !== "done" ? "The adapter of the run before" : undefined}
            disabled={phase !== "paused" && !adapter}
            onClick={() => void download()}
          >
            Download adapter
          </Button>
          <Button
            size="3"
            variant="outline"
            color="gray"
            disabled={phase !== "paused" && phase !== "done"}
            onClick={() => setExporting(true)}
          >
            Other forms…
          </Button>
          <p role="status">{status}</p>
        </div>
        {phase === "done" && adapter && <p className="quiet checked">{checkWords(adapter.check)}</p>}
        <Steps store={store} />
      </Card>
      {isExporting && <Exports store={store} onClose={() => setExporting(false)} />}
    </div>
  );
}

function trainWord({ phase, problem }: PageState): string {
  if (phase === "paused") return "Resume";
  if (phase === "done") return "Train again";
  return problem ? "Try again" : "Train";
}

function statusWords(state: PageState): string {
  const { phase, problem, dataProblem, device, summary, last, outcome, choices, mistakes, isHalting } = state;
  switch (phase) {
    case "choosing":
      if (device?.ok === false) return "Training needs a GPU: see above.";
      if (Object.keys(mistakes).length > 0) return correctWords(Object.keys(mistakes));
      if (choices.data.kind === "written" && choices.text.trim() === "")
        return "Write or paste some text to begin.";
      if (dataProblem) return "The rows need a decision: see Data.";
      return problem ? "Change what did not work, or try again." : "Choose a model and data to begin.";
    case "opening":
      return "Reading the files…";
    case "ready":
      return "Ready to train.";
    case "preparing":
      return isHalting ? "Stopping…" : "Preparing…";
    case "training":
      return isHalting ? "Ending this step…" : "Training…";
    case "paused":
      return "Paused.";
    case "done": {
      const [taken, planned] = [last?.step ?? 0, summary?.steps ?? 0];
      if (outcome?.diverged) return `Diverged after ${count(taken)} of ${count(planned)} steps.`;
      if (taken === planned) return `Done: all ${count(planned)} steps.`;
      return `Stopped after ${count(taken)} of ${count(planned)} steps.`;
    }
    default:
      return phase satisfies never;
  }
}

/** The field itself may be out of sight. */
function correctWords(keys: readonly string[]): string {
  const labels = keys.map((key) => labelOf(fieldOf(key)));
  return `${labels.join(", ")} ${labels.length === 1 ? "needs" : "need"} to be corrected: see Settings.`;
}

/** How far the run is; before its first step, how far the preparation. */
function Steps({ store }: { store: StoreApi<PageState> }) {
  const phase = useStore(store, (state) => state.phase);
  const progress = useStore(store, (state) => state.progress);
  const steps = useStore(store, ({ summary }) => summary?.steps);
  const last = useStore(store, (state) => state.last);
  const asking = useStore(store, (state) => state.asking);
  if (progress && (phase === "opening" || (phase === "preparing" && !last) || asking)) {
    const { stage, done, total } = progress;
    const [label, words] = PROGRESS_WORDS[stage](done, total);
    return (
      <>
        <progress aria-label={label} max={Math.max(1, total)} value={done} />
        <p className="quiet">{words}</p>
      </>
    );
  }
  if (steps === undefined || !last) return null;
  return <progress aria-label="Steps taken" max={steps} value={last.step} />;
}
