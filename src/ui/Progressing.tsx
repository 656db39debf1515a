import { useEffect, useRef, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { endingWords } from "./endingWords.ts";
import { count, duration, measured, shortNumber } from "./format.ts";
import type { LossChart } from "./lossChart.ts";
import { Panel } from "./Panel.tsx";
import { Preparing } from "./Preparing.tsx";
import { Problem } from "./Problem.tsx";
import type { PageState } from "./pageState.ts";
import { Scroll } from "./Scroll.tsx";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

/** The run as it goes: its figures and its losses. */
export function Progressing({ store }: StoreProps) {
  const isEmpty = useStore(store, ({ last, heldOut }) => !last && !heldOut);
  return (
    <Panel title="Training">
      <Figures store={store} />
      <Ending store={store} />
      {isEmpty ? <Preparing store={store} /> : <Chart store={store} />}
    </Panel>
  );
}

const loss = (value: number) => value.toFixed(4);

function Figures({ store }: StoreProps) {
  const last = useStore(store, (state) => state.last);
  const heldOut = useStore(store, (state) => state.heldOut);
  const steps = useStore(store, ({ summary }) => summary?.steps);
  const isDone = useStore(store, ({ phase }) => phase === "done");
  const { curves } = store.getState();
  const rate = curves.tokensPerSecond;
  const first = curves.loss.at(0);
  return (
    <dl className="figures" aria-label="Figures">
      <Figure
        name="Step"
        value={measured(last?.step, count)}
        of={steps === undefined ? "" : `of ${count(steps)}`}
      />
      <Figure
        name="Loss"
        value={measured(last?.loss, loss)}
        of={last ? `from ${measured(first, loss)}` : ""}
      />
      <Figure
        name="Held-out loss"
        value={measured(heldOut?.last.eval_loss, loss)}
        of={heldOut ? `from ${loss(heldOut.first.eval_loss)}` : ""}
      />
      <Figure name="Tokens a second" value={measured(rate, (value) => count(Math.round(value)))} />
      <Figure name="Learning rate" value={measured(last?.lr, shortNumber)} />
      <Figure name="Gradient norm" value={measured(last?.grad_norm, shortNumber)} />
      <Figure
        name="Elapsed"
        value={measured(last?.elapsed_ms, duration)}
        of={last && steps && !isDone ? leftWords(last.elapsed_ms, last.step, steps) : ""}
      />
    </dl>
  );
}

/** What is left of a run, if it goes on as it went. */
function leftWords(elapsedMs: number, step: number, steps: number): string {
  return step < steps ? `about ${duration((elapsedMs / step) * (steps - step))} left` : "";
}

/** Why a run ended before its last step, and which step its adapter is of. */
function Ending({ store }: StoreProps) {
  const outcome = useStore(store, (state) => state.outcome);
  const steps = useStore(store, ({ summary }) => summary?.steps);
  if (!outcome?.finished || steps === undefined) return null;
  const words = endingWords(outcome, steps);
  return (
    <>
      {outcome.diverged && <Problem title="Training has ended early" failure={outcome.diverged} />}
      {words !== "" && <p>{words}</p>}
    </>
  );
}

function Figure({ name, value, of }: { name: string; value: string; of?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value} {of && <span className="of">{of}</span>}
      </dd>
    </div>
  );
}

function Chart({ store }: StoreProps) {
  const host = useRef<HTMLDivElement>(null);
  const [isDrawn, setDrawn] = useState(false);
  useEffect(() => {
    let chart: LossChart | undefined;
    let isGone = false;
    // Fetched when there is something to draw.
    void import("./lossChart.ts").then(({ LossChart }) => {
      if (isGone || !host.current) return;
      chart = new LossChart(host.current, () => store.getState().curves);
      setDrawn(true);
    });
    const unsubscribe = store.subscribe((state, before) => {
      if (state.recorded !== before.recorded) chart?.invalidate();
    });
    return () => {
      isGone = true;
      unsubscribe();
      chart?.destroy();
    };
  }, [store]);
  return (
    <>
      <div
        className="chart"
        ref={host}
        role="img"
        aria-label="Training and held-out loss by step"
        data-drawn={isDrawn}
      />
      <HeldOutTable store={store} />
    </>
  );
}

/** The held-out losses as numbers, for whoever does not see the lines. */
function HeldOutTable({ store }: StoreProps) {
  const heldOut = useStore(store, (state) => state.heldOut);
  if (!heldOut) return null;
  const { heldOutStep, heldOutLoss } = store.getState().curves;
  return (
    <details>
      <summary>Held-out loss as a table</summary>
      <Scroll label="Held-out losses">
        <table>
          <thead>
            <tr>
              <th scope="col">After step</th>
              <th scope="col">Held-out loss, nats a token</th>
            </tr>
          </thead>
          <tbody>
            {[...heldOutStep.values].map((step, i) => (
              <tr key={step}>
                <td>{count(step)}</td>
                <td>{loss(heldOutLoss.at(i))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </details>
  );
}
