import { Badge, Button } from "@radix-ui/themes";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import type { StoreApi } from "zustand/vanilla";
import type { DataFacts, RecordLine } from "../worker/api.ts";
import { count, counted } from "./format.ts";
import { Panel } from "./Panel.tsx";
import type { PageState } from "./pageState.ts";

/** As in the stylesheet: rows are placed by their number alone, so 100 000 of them cost what thirty do. */
const ROW_PX = 32;
const VIEW_ROWS = 12;
/** So many rows are asked for together. */
const PAGE_ROWS = 100;
const SHOWN_COLUMNS = 6;
/** A column is at least so wide; line and part take the rest. */
const COLUMN_REM = 8;
const OTHERS_REM = 10.5;

interface RowGridProps {
  readonly store: StoreApi<PageState>;
  readonly facts: DataFacts;
  readonly chosen: number;
  readonly onChoose: (record: number) => void;
  readonly locked: boolean;
}

/** All rows as their files have them. Where one of them has the focus, the arrow keys go to others. */
export function RowGrid({ store, facts, chosen, onChoose, locked }: RowGridProps) {
  const { records, columns, edits } = facts;
  const { editData } = store.getState();
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const first = Math.max(0, Math.min(records - VIEW_ROWS, Math.floor(top / ROW_PX)) - 4);
  const last = Math.min(records, first + VIEW_ROWS + 8);
  const lines = useLines(store, facts, first, last);
  const shown = columns.slice(0, SHOWN_COLUMNS);
  const movesFocus = useRef(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the focus goes to what was chosen
  useEffect(() => {
    if (movesFocus.current) box.current?.querySelector<HTMLElement>("[aria-current=true]")?.focus();
    movesFocus.current = false;
  }, [chosen]);
  const choose = (record: number) => {
    const to = Math.min(records - 1, Math.max(0, record));
    onChoose(to);
    const { current } = box;
    if (!current) return;
    const [above, below] = [to * ROW_PX, (to + 1) * ROW_PX - VIEW_ROWS * ROW_PX];
    if (current.scrollTop > above) current.scrollTop = above;
    else if (current.scrollTop < below) current.scrollTop = below;
    setTop(current.scrollTop);
  };
  const press = (event: KeyboardEvent, record: number) => {
    const to = KEYS[event.key]?.(record, records);
    if (to === undefined) return;
    event.preventDefault();
    movesFocus.current = true;
    choose(to);
  };
  const add = async () => {
    const blank = Object.fromEntries(columns.map((column) => [column, ""]));
    const failed = await editData({ kind: "add", values: blank });
    if (!failed) choose(records);
  };
  const drawn = Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
  const tabStop = drawn.includes(chosen) ? chosen : first;
  return (
    <Panel
      title="Rows"
      aside={
        <span className="line">
          <span className="quiet small">{counted(records, "row")}</span>
          <Button size="1" variant="soft" disabled={locked} onClick={() => void add()}>
            Add a row
          </Button>
          <Button
            size="1"
            variant="soft"
            color="gray"
            disabled={locked || edits === 0}
            onClick={() => void editData({ kind: "undo" })}
          >
            Undo
          </Button>
        </span>
      }
    >
      <div className="grid" ref={box} onScroll={({ currentTarget }) => setTop(currentTarget.scrollTop)}>
        <table
          aria-label="Rows"
          aria-rowcount={records + 1}
          style={{ minWidth: `${OTHERS_REM + COLUMN_REM * shown.length}rem` }}
        >
          <thead>
            <tr aria-rowindex={1}>
              <th scope="col" className="grid-line">
                Line
              </th>
              {shown.map((column) => (
                <th scope="col" key={column}>
                  {column}
                </th>
              ))}
              <th scope="col" className="grid-part">
                Part
              </th>
            </tr>
          </thead>
          <tbody>
            <Space rows={first} />
            {drawn.map((record) => (
              <Line
                key={record}
                record={record}
                line={lines.get(record)}
                columns={shown.length}
                isChosen={record === chosen}
                isTabStop={record === tabStop}
                onChoose={() => choose(record)}
                onKeyDown={(event) => press(event, record)}
              />
            ))}
            <Space rows={records - last} />
          </tbody>
        </table>
      </div>
      {columns.length > SHOWN_COLUMNS && (
        <p className="quiet small">
          {count(columns.length - SHOWN_COLUMNS)} more columns stand with each row below.
        </p>
      )}
    </Panel>
  );
}

const KEYS: Readonly<Record<string, (chosen: number, records: number) => number>> = {
  ArrowDown: (chosen) => chosen + 1,
  ArrowUp: (chosen) => chosen - 1,
  PageDown: (chosen) => chosen + VIEW_ROWS,
  PageUp: (chosen) => chosen - VIEW_ROWS,
  Home: () => 0,
  End: (_, records) => records - 1,
};

/** Holds the place of rows that are out of sight. */
function Space({ rows }: { rows: number }) {
  return rows > 0 ? <tr style={{ height: rows * ROW_PX }} /> : null;
}

const PART_WORDS: Readonly<Record<RecordLine["part"], string>> = {
  train: "",
  heldOut: "held out",
  faulty: "not usable",
};

interface LineProps {
  readonly record: number;
  /** Absent until the worker has answered. */
  readonly line: RecordLine | undefined;
  readonly columns: number;
  readonly isChosen: boolean;
  readonly isTabStop: boolean;
  readonly onChoose: () => void;
  readonly onKeyDown: (event: KeyboardEvent) => void;
}

/** Its button reaches over the whole row. */
function Line({ record, line, columns, isChosen, isTabStop, onChoose, onKeyDown }: LineProps) {
  const cells = line?.cells.slice(0, columns) ?? Array.from({ length: columns }, () => "…");
  const part = line ? PART_WORDS[line.part] : "";
  return (
    <tr aria-rowindex={record + 2} className={isChosen ? "chosen-row" : ""}>
      <td>
        <button
          type="button"
          tabIndex={isTabStop ? 0 : -1}
          aria-current={isChosen}
          aria-label={`Row ${record + 1}`}
          onClick={onChoose}
          onKeyDown={onKeyDown}
        >
          {line?.line ?? ""}
        </button>
      </td>
      {cells.map((cell, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: columns keep their places
        <td key={i}>{cell}</td>
      ))}
      <td>{part && <Badge color={line?.part === "faulty" ? "red" : "gray"}>{part}</Badge>}</td>
    </tr>
  );
}

/** Lines that the worker was asked for, by record; forgotten when the rows change. */
function useLines(
  store: StoreApi<PageState>,
  { version }: DataFacts,
  first: number,
  last: number,
): ReadonlyMap<number, RecordLine> {
  const kept = useRef({ version, lines: new Map<number, RecordLine>() });
  const [, redraw] = useState(0);
  const from = Math.floor(first / PAGE_ROWS) * PAGE_ROWS;
  const to = Math.ceil(last / PAGE_ROWS) * PAGE_ROWS;
  useEffect(() => {
    let isCurrent = true;
    const ask = async () => {
      const isNew = kept.current.version !== version;
      for (let page = from; page < to; page += PAGE_ROWS) {
        if (!isNew && kept.current.lines.has(page)) continue;
        const result = await store.getState().dataLines(page, PAGE_ROWS);
        if (!isCurrent || !result.ok) return;
        if (kept.current.version !== version) kept.current = { version, lines: new Map() };
        for (const [i, line] of result.value.entries()) kept.current.lines.set(page + i, line);
        redraw((n) => n + 1);
      }
    };
    void ask();
    return () => {
      isCurrent = false;
    };
  }, [store, version, from, to]);
  return kept.current.lines;
}
