import { Button, TextArea } from "@radix-ui/themes";
import { useEffect, useId, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { DataFacts, Failure, RecordValues, RecordView } from "../worker/api.ts";
import { count } from "./format.ts";
import { Panel } from "./Panel.tsx";
import { Problem } from "./Problem.tsx";
import type { PageState } from "./pageState.ts";
import { Tokens } from "./Tokens.tsx";

interface RowDetailProps {
  readonly store: StoreApi<PageState>;
  readonly facts: DataFacts;
  readonly record: number;
  readonly onChoose: (record: number) => void;
  readonly locked: boolean;
}

/** One row: as tokens, and as its file has it, where it can be changed. */
export function RowDetail({ store, facts, record, onChoose, locked }: RowDetailProps) {
  const shown = useRecord(store, facts.version, record);
  return (
    <Panel
      title={`Row ${count(record + 1)}`}
      className="row-detail"
      aside={
        <span className="line">
          <Button
            size="1"
            variant="soft"
            color="gray"
            disabled={record === 0}
            onClick={() => onChoose(record - 1)}
          >
            Previous
          </Button>
          <Button
            size="1"
            variant="soft"
            color="gray"
            disabled={record >= facts.records - 1}
            onClick={() => onChoose(record + 1)}
          >
            Next
          </Button>
        </span>
      }
    >
      {shown && (
        <div className="beside">
          <Tokens store={store} tokens={shown.view.tokens} key={`tokens ${shown.record}`} />
          <Source
            store={store}
            record={shown.record}
            values={shown.view.values}
            locked={locked}
            key={`${shown.version} ${shown.record}`}
          />
        </div>
      )}
    </Panel>
  );
}

interface ShownRecord {
  /** Of the rows, and the record's place in them. */
  readonly version: number;
  readonly record: number;
  readonly view: RecordView;
}

/** What the worker says of a record; the one before until it has answered. */
function useRecord(store: StoreApi<PageState>, version: number, record: number): ShownRecord | undefined {
  const [shown, setShown] = useState<ShownRecord>();
  // Tokens are others once another model or template is open.
  const phase = useStore(store, (state) => state.phase);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another version or phase gives another answer
  useEffect(() => {
    let isCurrent = true;
    void store
      .getState()
      .dataRecord(record)
      .then((result) => {
        if (isCurrent && result.ok) setShown({ version, record, view: result.value });
      });
    return () => {
      isCurrent = false;
    };
  }, [store, version, record, phase]);
  return shown;
}

interface SourceProps {
  readonly store: StoreApi<PageState>;
  readonly record: number;
  readonly values: RecordValues;
  readonly locked: boolean;
}

/** The columns of a row, to be read and changed. */
function Source({ store, record, values, locked }: SourceProps) {
  const [changed, setChanged] = useState<RecordValues>(values);
  const [failed, setFailed] = useState<Failure>();
  const id = useId();
  const { editData } = store.getState();
  const isChanged = Object.keys(values).some((column) => changed[column] !== values[column]);
  return (
    <fieldset className="source" disabled={locked} aria-label="The row in its file">
      <h3>In its file</h3>
      {Object.entries(changed).map(([column, value]) => (
        <div key={column} className="field">
          <label htmlFor={`${id}-${column}`} className="small">
            {column}
          </label>
          <TextArea
            id={`${id}-${column}`}
            size="1"
            rows={Math.min(8, 1 + Math.floor(value.length / 48))}
            value={value}
            onChange={({ target }) => setChanged({ ...changed, [column]: target.value })}
          />
        </div>
      ))}
      {failed && <Problem title="That is no such row" failure={failed} />}
      <div className="line">
        <Button
          size="1"
          disabled={!isChanged}
          onClick={() => void editData({ kind: "set", record, values: changed }).then(setFailed)}
        >
          Keep the change
        </Button>
        <Button
          size="1"
          variant="soft"
          color="red"
          onClick={() => void editData({ kind: "remove", record }).then(setFailed)}
        >
          Delete the row
        </Button>
      </div>
    </fieldset>
  );
}
