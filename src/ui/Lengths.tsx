import { type PointerEvent, useId } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { costOfCut, type TruncationMode } from "../data/cuts.ts";
import type { RowLengths } from "../worker/api.ts";
import { costWords } from "./dataWords.ts";
import { count } from "./format.ts";
import { useLastSummary } from "./lastSummary.ts";
import { Panel } from "./Panel.tsx";
import type { PageState } from "./pageState.ts";
import { fieldOf, settingOf } from "./settings.ts";

const BINS = 48;
const WIDTH = 480;
const HEIGHT = 120;
/** The fewest tokens that a row can be cut to. */
const SHORTEST = 2;

/** How long rows are, and where they are cut: a line that can be dragged, or moved by the arrow keys. */
export function Lengths({ store }: { store: StoreApi<PageState> }) {
  const lengths = useLastSummary(store)?.lengths;
  const maxLength = useStore(store, ({ settings }) => Number(settingOf(settings, fieldOf("max_length"))));
  const mode = useStore(
    store,
    ({ settings }) => settingOf(settings, fieldOf("truncation_mode")) as TruncationMode,
  );
  const { set } = store.getState();
  const id = useId();
  if (!lengths) {
    return (
      <Panel title="Lengths">
        <p className="quiet">Rows are measured once a model has read them.</p>
      </Panel>
    );
  }
  const longest = lengths.length.reduce((most, length) => Math.max(most, length), SHORTEST);
  const top = Math.max(SHORTEST + 1, Math.ceil(longest * 1.08));
  const at = Math.min(maxLength, top);
  // What is set is opened when it has stood still for a moment: one can drag as one types.
  const cutAt = (tokens: number) => tokens !== maxLength && set("train", "max_length", tokens);
  const drag = ({ currentTarget, clientX }: PointerEvent) => {
    const { left, width } = currentTarget.getBoundingClientRect();
    cutAt(Math.min(top, Math.max(SHORTEST, Math.round((top * (clientX - left)) / width))));
  };
  return (
    <Panel title="Lengths" aside={<span className="quiet small">in tokens</span>}>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        className="lengths"
        aria-hidden="true"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          drag(event);
        }}
        onPointerMove={(event) => event.currentTarget.hasPointerCapture(event.pointerId) && drag(event)}
      >
        {barsOf(lengths, top).map((share, bin) => (
          <rect
            // biome-ignore lint/suspicious/noArrayIndexKey: a bar is known by its place
            key={bin}
            className={(top * bin) / BINS >= maxLength ? "bar beyond" : "bar"}
            x={(WIDTH * bin) / BINS + 0.5}
            width={WIDTH / BINS - 1}
            y={HEIGHT - share * (HEIGHT - 8)}
            height={share * (HEIGHT - 8)}
          />
        ))}
        <line className="cut-line" x1={(WIDTH * at) / top} x2={(WIDTH * at) / top} y1="0" y2={HEIGHT} />
      </svg>
      <div className="line small">
        <span className="quiet">0</span>
        <label htmlFor={id} className="grow">
          Cut at {count(maxLength)} tokens
        </label>
        <span className="quiet">{count(top)}</span>
      </div>
      <input
        id={id}
        type="range"
        min={SHORTEST}
        max={top}
        value={at}
        aria-valuetext={`${count(maxLength)} tokens: ${costWords(costOfCut(lengths, maxLength, mode))}`}
        onChange={({ target }) => cutAt(Number(target.value))}
      />
      <p aria-live="polite">{costWords(costOfCut(lengths, maxLength, mode))}</p>
    </Panel>
  );
}

/** How many rows are of each length, as shares of the most. */
function barsOf({ length }: RowLengths, top: number): number[] {
  const bars = new Array<number>(BINS).fill(0);
  for (const tokens of length) bars[Math.min(BINS - 1, Math.floor((BINS * tokens) / top))]!++;
  const most = Math.max(1, ...bars);
  // A single row among thousands must still be seen.
  return bars.map((rows) => (rows === 0 ? 0 : Math.max(0.03, rows / most)));
}
