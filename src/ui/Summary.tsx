import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { MemoryEstimate, RowCounts, RunSummary } from "../worker/api.ts";
import { bytes, count, counted, percent } from "./format.ts";
import { Panel } from "./Panel.tsx";
import type { PageState } from "./pageState.ts";
import { Trainables } from "./Trainables.tsx";

const MEMORY_WORDS: Record<keyof MemoryEstimate, string> = {
  base: "base model",
  adapter: "adapter",
  optimizer: "optimizer",
  activations: "activations",
  inputs: "inputs",
  control: "control",
};
const PARTS = Object.entries(MEMORY_WORDS) as [keyof MemoryEstimate, string][];

/** What will be trained, on what, and what it takes: known before the run begins. */
export function Summary({ store }: { store: StoreApi<PageState> }) {
  const summary = useStore(store, (state) => state.summary);
  if (!summary) return null;
  const { rows, heldOut, trainable, trainableCount, parameters } = summary;
  return (
    <Panel title="The run">
      <dl className="facts">
        <dt>Base model</dt>
        <dd>
          {summary.modelType}, {count(parameters)} parameters
        </dd>
        <dt>Trains</dt>
        <dd>
          {count(trainableCount)} values ({percent(trainableCount, parameters + trainableCount)}) in{" "}
          {counted(trainable.length, "tensor")}
        </dd>
        <dt>Rows</dt>
        <dd>{rowWords(rows)}</dd>
        {heldOut && (
          <>
            <dt>Held out</dt>
            <dd>{rowWords(heldOut)}</dd>
          </>
        )}
        <dt>Steps</dt>
        <dd>{count(summary.steps)}</dd>
        <dt>GPU memory</dt>
        <dd>
          <Memory store={store} summary={summary} />
        </dd>
      </dl>
      {summary.warnings.length > 0 && (
        <ul className="warnings" aria-label="Notes">
          {summary.warnings.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
      )}
      <Trainables store={store} summary={summary} />
    </Panel>
  );
}

function rowWords({ used, tokens, targets, leftOut, cut, replacedSurrogates }: RowCounts): string {
  return [
    `${counted(used, "row")}, ${count(tokens)} tokens, ${count(targets)} of them targets`,
    ...(leftOut > 0 ? [`${counted(leftOut, "row")} left out: nothing to predict`] : []),
    ...(cut > 0 ? [`${count(cut)} cut at max_length`] : []),
    ...(replacedSurrogates > 0 ? [`${count(replacedSurrogates)} half characters replaced by \ufffd`] : []),
  ].join("; ");
}

/** What was planned, part by part, and what the device was asked for. */
function Memory({ store, summary: { memory } }: { store: StoreApi<PageState>; summary: RunSummary }) {
  const taken = useStore(store, (state) => state.memory);
  return (
    <>
      {bytes(sumOf(memory))} estimated, {taken ? bytes(sumOf(taken)) : "—"} measured
      <div className="memory" aria-hidden="true">
        {PARTS.map(([part]) => (
          <span key={part} className={part} style={{ flexGrow: memory[part] }} />
        ))}
      </div>
      <ul className="memory-parts">
        {PARTS.map(([part, word]) => (
          <li key={part} className={part}>
            {word} {bytes(memory[part])}
          </li>
        ))}
      </ul>
    </>
  );
}

function sumOf(memory: MemoryEstimate): number {
  return PARTS.reduce((sum, [part]) => sum + memory[part], 0);
}
