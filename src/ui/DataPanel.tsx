import { RadioCards, SegmentedControl, Switch, TextArea } from "@radix-ui/themes";
import { useId } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { BUNDLED_SETS, type BundledSet } from "../data/bundled.ts";
import { Chooser } from "./Chooser.tsx";
import { singleFile } from "./files.ts";
import { count } from "./format.ts";
import { bundledSetOf } from "./material.ts";
import { OwnRows } from "./OwnRows.tsx";
import { Panel } from "./Panel.tsx";
import { countRows, isJsonLines, type ShownRow, type Split } from "./rows.ts";
import type { PageState } from "./store.ts";

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
  const shown = useStore(store, (state) => state.preview);
  return (
    <>
      <p>{set.shows}</p>
      <Rows rows={shown} />
      {set.metric === "exact-match" && <OwnRows store={store} />}
      <p className="quiet small">
        {set.source}. {set.licence}.
      </p>
    </>
  );
}

function OwnData({ store }: StoreProps) {
  const { data, text, split, holdsOut, heldOut } = useStore(store, (state) => state.choices);
  const choose = useStore(store, (state) => state.choose);
  const shown = useStore(store, (state) => state.preview);
  const file = data.kind === "file" ? data.file : undefined;
  const id = useId();
  const isRows = isJsonLines(text);
  return (
    <>
      <TextArea
        aria-label="Text"
        rows={6}
        placeholder={'Paste text, or JSON Lines: {"text": "…"} or {"messages": […]} on each line.'}
        value={text}
        onChange={({ target }) => choose({ text: target.value, data: { kind: "written" } })}
      />
      {data.kind === "written" && text.trim() !== "" && (
        <p className="quiet small">
          {count(countRows(text, split))} rows{isRows ? " of JSON Lines" : ""}
        </p>
      )}
      <Chooser
        title="Data file"
        hint="Or drop or choose a .jsonl or .txt file."
        accept=".jsonl,.ndjson,.txt,.md,.json"
        chosen={file?.name}
        reader={singleFile}
        onChoose={(chosen) => choose({ data: { kind: "file", file: chosen } })}
        onClear={() => choose({ data: { kind: "written" } })}
      />
      {file && <Rows rows={shown} />}
      {!isRows && (file === undefined || /\.(txt|md)$/i.test(file.name)) && (
        <div className="line">
          <span id="split">A row is</span>
          <SegmentedControl.Root
            size="1"
            aria-labelledby="split"
            value={split}
            onValueChange={(value) => choose({ split: value as Split })}
          >
            <SegmentedControl.Item value="lines">each line</SegmentedControl.Item>
            <SegmentedControl.Item value="whole">the whole text</SegmentedControl.Item>
          </SegmentedControl.Root>
        </div>
      )}
      {file ? (
        <Chooser
          title="Held-out rows"
          optional
          hint="A .jsonl file of rows that are measured and never trained on."
          accept=".jsonl,.ndjson"
          chosen={heldOut?.name}
          reader={singleFile}
          onChoose={(chosen) => choose({ heldOut: chosen })}
          onClear={() => choose({ heldOut: undefined })}
        />
      ) : (
        <div className="line">
          <Switch id={id} size="1" checked={holdsOut} onCheckedChange={(on) => choose({ holdsOut: on })} />
          <label htmlFor={id}>Hold out every tenth row, to measure what was not trained on</label>
        </div>
      )}
    </>
  );
}

function Rows({ rows }: { rows: readonly ShownRow[] }) {
  return (
    <ul className="rows" aria-label="First rows">
      {rows.map(({ question, text }) => (
        <li key={`${question} ${text}`}>
          {question && <span className="quiet">{question} </span>}
          {text}
        </li>
      ))}
    </ul>
  );
}
