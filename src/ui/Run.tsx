import { count, measured, shortNumber } from "./format.ts";
import type { PageState } from "./store.ts";

interface RunProps {
  readonly state: PageState;
  readonly onDownload: () => void;
}

/** The buttons, how far the run is, and what the last step measured. */
export function Run({ state, onDownload }: RunProps) {
  const { phase, choices, device, summary, last, first } = state;
  const busy = phase === "opening" || phase === "preparing" || phase === "training";
  const complete = choices.model !== undefined && choices.data !== undefined && device?.ok !== false;
  const trains = phase === "preparing" || phase === "training";
  const trained = last !== undefined && (phase === "paused" || phase === "done");
  return (
    <section aria-labelledby="train">
      <h2 id="train">Training</h2>
      <div className="buttons">
        <button
          type="button"
          className="primary"
          disabled={!complete || busy}
          onClick={() => void state.train()}
        >
          {phase === "paused"
            ? "Resume"
            : phase === "done"
              ? "Train again"
              : state.problem
                ? "Try again"
                : "Train"}
        </button>
        <button type="button" disabled={phase !== "training"} onClick={state.pause}>
          Pause
        </button>
        <button type="button" disabled={!trains && phase !== "paused"} onClick={state.stop}>
          Stop
        </button>
        <button type="button" disabled={!trained} onClick={onDownload}>
          Download adapter
        </button>
      </div>
      <p role="status">{statusWords(state)}</p>
      {trains && !last && <Preparation state={state} />}
      {summary && last && (
        <>
          <progress aria-label="Steps taken" max={summary.steps} value={last.step} />
          <dl className="figures">
            <Figure name="Step" value={`${count(last.step)} of ${count(summary.steps)}`} />
            <Figure name="Loss" value={last.loss.toFixed(4)} />
            <Figure name="Loss at step 1" value={measured(first?.loss, (loss) => loss.toFixed(4))} />
            <Figure name="Learning rate" value={shortNumber(last.lr)} />
            <Figure name="Gradient norm" value={shortNumber(last.grad_norm)} />
            <Figure
              name="Tokens a second"
              value={measured(state.tokensPerSecond, (rate) => count(Math.round(rate)))}
            />
          </dl>
        </>
      )}
    </section>
  );
}

function statusWords({ phase, problem, device, summary, last }: PageState): string {
  switch (phase) {
    case "choosing":
      if (device?.ok === false) return "Training needs a GPU: see above.";
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

function Preparation({ state: { progress } }: { state: PageState }) {
  if (!progress) return null;
  const { stage, done, total } = progress;
  const words =
    stage === "load"
      ? `Loading the base model: ${Math.floor((100 * done) / Math.max(1, total))} %`
      : `Compiling kernels: ${done} of ${total}`;
  return (
    <div>
      <progress aria-label={stage === "load" ? "Loaded" : "Compiled"} max={Math.max(1, total)} value={done} />
      <p className="quiet">{words}</p>
    </div>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
