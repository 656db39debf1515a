import { Button, Card } from "@radix-ui/themes";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { downloadZip } from "./download.ts";
import { count } from "./format.ts";
import type { PageState } from "./store.ts";

/** The buttons, and in one line how things stand. */
export function Actions({ store }: { store: StoreApi<PageState> }) {
  const state = useStore(store);
  const { phase, device, adapter, mistakes } = state;
  const trains = phase === "preparing" || phase === "training";
  const busy = phase === "opening" || trains;
  const possible = device?.ok !== false && Object.keys(mistakes).length === 0;
  const download = async () => {
    const taken = await state.takeAdapter();
    if (!taken) return;
    downloadZip(taken.files, taken.name);
    if (phase !== "paused") state.saved();
  };
  return (
    <div className="actions">
      <Card size="2">
        <div className="buttons">
          <Button size="3" disabled={!possible || busy} onClick={() => void state.train()}>
            {trainWord(state)}
          </Button>
          <Button size="3" variant="soft" color="gray" disabled={phase !== "training"} onClick={state.pause}>
            Pause
          </Button>
          <Button
            size="3"
            variant="soft"
            color="gray"
            disabled={!trains && phase !== "paused"}
            onClick={state.stop}
          >
            Stop
          </Button>
          <Button
            size="3"
            variant="outline"
            disabled={phase !== "paused" && !adapter}
            onClick={() => void download()}
          >
            Download adapter
          </Button>
          <p role="status">{statusWords(state)}</p>
        </div>
        <Steps state={state} />
      </Card>
    </div>
  );
}

function trainWord({ phase, problem }: PageState): string {
  if (phase === "paused") return "Resume";
  if (phase === "done") return "Train again";
  return problem ? "Try again" : "Train";
}

function statusWords({ phase, problem, device, summary, last, choices, mistakes }: PageState): string {
  switch (phase) {
    case "choosing":
      if (device?.ok === false) return "Training needs a GPU: see above.";
      if (Object.keys(mistakes).length > 0) return "A setting needs to be corrected.";
      if (choices.data.kind === "written" && choices.text.trim() === "")
        return "Write or paste some text to begin.";
      return problem ? "Try again, or choose other files." : "Choose a model and data to begin.";
    case "opening":
      return "Reading the files…";
    case "ready":
      return "Ready to train.";
    case "preparing":
      return "Preparing…";
    case "training":
      return "Training…";
    case "paused":
      return "Paused.";
    case "done": {
      const [taken, planned] = [last?.step ?? 0, summary?.steps ?? 0];
      if (taken === planned) return `Done: all ${count(planned)} steps.`;
      return `Stopped after ${count(taken)} of ${count(planned)} steps.`;
    }
    default:
      return phase satisfies never;
  }
}

/** How far the run is; before its first step, how far the preparation. */
function Steps({ state: { phase, progress, summary, last, asking } }: { state: PageState }) {
  if (progress && ((phase === "preparing" && !last) || asking)) {
    const { stage, done, total } = progress;
    const words =
      stage === "load"
        ? `Loading the base model: ${Math.floor((100 * done) / Math.max(1, total))} %`
        : `Compiling kernels: ${done} of ${total}`;
    return (
      <>
        <progress
          aria-label={stage === "load" ? "Loaded" : "Compiled"}
          max={Math.max(1, total)}
          value={done}
        />
        <p className="quiet">{words}</p>
      </>
    );
  }
  if (!summary || !last) return null;
  return <progress aria-label="Steps taken" max={summary.steps} value={last.step} />;
}
