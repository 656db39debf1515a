import { type KeyboardEvent, useLayoutEffect, useRef, useState } from "react";
import { DottedName } from "./DottedName.tsx";
import { effectOf, type GridRow, placeOf, rowWords } from "./targetRows.ts";

interface TargetGridProps {
  readonly rows: readonly GridRow[];
  /** Nothing can be picked: the adapter decides, or a run is under way. */
  readonly isFixed: boolean;
  readonly onPick: (row: GridRow) => void;
  /** Opens a group, or closes it. */
  readonly onFold: (row: GridRow) => void;
}

/** The modules as WAI-ARIA's treegrid: one row takes the focus, arrow keys move it and fold groups, Space picks. */
export function TargetGrid({ rows, isFixed, onPick, onFold }: TargetGridProps) {
  const [active, setActive] = useState("");
  const body = useRef<HTMLTableSectionElement>(null);
  const hasFocus = useRef(false);
  const at = placeOf(rows, active);
  const focus = (place: number) => body.current?.rows[place]?.focus();
  useLayoutEffect(() => {
    // The row that had the focus is another one now, and the browser has forgotten where it was.
    if (hasFocus.current && document.activeElement === document.body) body.current?.rows[at]?.focus();
  });
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const row = rows[at]!;
    if (event.key === " ") {
      // A box that has the focus itself is ticked by the browser.
      if (event.target !== body.current?.rows[at]) return;
      if (!isFixed && row.state !== "none") onPick(row);
    } else {
      const effect = effectOf(event.key, rows, at);
      if (!effect) return;
      if ("fold" in effect) onFold(row);
      else focus(placeOf(rows, effect.goTo));
    }
    event.preventDefault();
  };
  return (
    <table
      className="targets"
      // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: a treegrid is made of a table's elements
      role="treegrid"
      aria-label="Modules and what trains in them"
      aria-multiselectable
      aria-readonly={isFixed}
    >
      <thead>
        <tr>
          <th scope="col">Module</th>
          <th scope="col">Trains</th>
          <th scope="col" className="amount">
            Values
          </th>
          <th scope="col" className="amount">
            Memory
          </th>
        </tr>
      </thead>
      <tbody
        ref={body}
        onKeyDown={press}
        onFocus={() => {
          hasFocus.current = true;
        }}
        onBlur={() => {
          hasFocus.current = false;
        }}
      >
        {rows.map((row, i) => (
          <tr
            key={row.id}
            className={`${row.block ? "block" : ""} ${hasTrained(row) ? "" : "quiet"}`}
            tabIndex={i === at ? 0 : -1}
            aria-label={rowWords(row)}
            aria-level={row.level}
            aria-expanded={row.isExpanded}
            aria-selected={row.state === "none" ? undefined : row.state === "on"}
            onFocus={() => setActive(row.id)}
            onClick={({ currentTarget }) => currentTarget.focus({ preventScroll: true })}
          >
            <Cells row={row} isFixed={isFixed} onPick={() => onPick(row)} onFold={() => onFold(row)} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function hasTrained({ modules }: GridRow): boolean {
  return modules.some(({ cost }) => cost.values > 0);
}

interface CellsProps {
  readonly row: GridRow;
  readonly isFixed: boolean;
  readonly onPick: () => void;
  readonly onFold: () => void;
}

function Cells({ row, isFixed, onPick, onFold }: CellsProps) {
  const { level, label, fullName, state, isExpanded, words, costs } = row;
  const isGroup = isExpanded !== undefined;
  const hasWords = !isGroup && words !== "";
  return (
    <>
      <th scope="row" colSpan={(hasWords ? 1 : 2) + (costs || hasWords ? 0 : 2)}>
        <span className={`target level-${level}`} title={fullName}>
          <input
            type="checkbox"
            tabIndex={-1}
            className={state === "none" ? "unpickable" : undefined}
            aria-label={`Adapt ${fullName}`}
            checked={state === "on"}
            disabled={isFixed || state === "none"}
            ref={(box) => {
              if (box) box.indeterminate = state === "some";
            }}
            onChange={onPick}
          />
          {isGroup ? (
            <span>
              <button
                type="button"
                className="fold"
                tabIndex={-1}
                aria-expanded={isExpanded}
                aria-label={fullName}
                onClick={onFold}
              >
                {label}
              </button>
              <span className="quiet"> {words}</span>
            </span>
          ) : (
            <span>
              <DottedName name={label} mark="_" />
            </span>
          )}
        </span>
      </th>
      {hasWords && <td colSpan={costs ? 1 : 3}>{words}</td>}
      {costs && <td className="amount">{costs.values}</td>}
      {costs && <td className="amount">{costs.bytes}</td>}
    </>
  );
}
