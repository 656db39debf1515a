import type { ShownRow } from "../worker/api.ts";

/** The first rows, for people to see what they chose. */
export function RowList({ rows }: { rows: readonly ShownRow[] }) {
  return (
    <ul className="rows" aria-label="First rows">
      {rows.map(({ question, text }, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows may say the same, and are known by their place
        <li key={i}>
          {question && <span className="quiet">{question} </span>}
          {text}
        </li>
      ))}
    </ul>
  );
}
