import { Callout } from "@radix-ui/themes";
import type { Failure } from "../worker/api.ts";
import { count } from "./format.ts";
import type { RunNote } from "./note.ts";

export function Problem({ failure, title }: { failure: Failure; title: string }) {
  return (
    <Callout.Root role="alert" color="red" className="callout">
      <strong>{title}</strong>
      <p>{failure.message}</p>
      {failure.remedy && <p className="remedy">{failure.remedy}</p>}
    </Callout.Root>
  );
}

/** What was under way in a tab that is gone. */
export function LostRuns({ notes }: { notes: readonly RunNote[] }) {
  if (notes.length === 0) return null;
  return (
    <Callout.Root color="amber" className="callout" aria-label="Lost runs" role="note">
      {notes.map((note) => (
        <p key={note.savedAtMs}>{lostWords(note)}</p>
      ))}
    </Callout.Root>
  );
}

function lostWords({ title, step, steps, ended }: RunNote): string {
  if (ended) {
    return `When this page was last closed, a run on “${title}” had ended and its adapter was not downloaded. It is lost: nothing is kept when a tab closes.`;
  }
  return `When this page was last closed, a run on “${title}” was under way (step ${count(step)} of ${count(steps)}), and its result is lost: nothing is kept when a tab closes. Train again to have it.`;
}
