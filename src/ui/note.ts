/**
 * What a tab that is gone had under way. A tab that trains leaves a note, and holds a lock for as long as it lives:
 * a note whose lock nobody holds is of a tab that was closed, or crashed, and its result is lost. The note holds no
 * word of the user's data.
 */
import type { StoreApi } from "zustand/vanilla";
import { bundledSetOf } from "./material.ts";
import { isLocked, type PageState } from "./pageState.ts";

export interface RunNote {
  /** What was trained on: a bundled set's title, or "data of your own". */
  readonly title: string;
  readonly step: number;
  readonly steps: number;
  /** The run had ended; its adapter was not downloaded. */
  readonly ended: boolean;
  readonly savedAtMs: number;
}

const PREFIX = "graft.run.";
/** A note is brought up to date so often at most: writing it waits for the disk. */
const NOTE_MS = 2000;

/** How long a tab that was closed or reloaded just now may hold its lock yet. */
const LETTING_GO_MS = 30_000;

/** Tells the notes of tabs that are gone, each once: as soon as nobody holds its lock. */
export function lostRuns(tell: (note: RunNote) => void): void {
  for (const key of Object.keys(localStorage).filter((key) => key.startsWith(PREFIX))) {
    const signal = AbortSignal.timeout(LETTING_GO_MS);
    const letGo = navigator.locks.request(key, { signal }, () => {
      const note = parseNote(localStorage.getItem(key));
      localStorage.removeItem(key);
      if (note) tell(note);
    });
    // Where it is held all the time, that tab lives.
    letGo.catch(() => {});
  }
}

function parseNote(text: string | null): RunNote | undefined {
  try {
    const note = JSON.parse(text ?? "") as Partial<RunNote>;
    const isNote =
      typeof note.title === "string" && Number.isFinite(note.step) && Number.isFinite(note.steps);
    return isNote ? (note as RunNote) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether closing the tab now would lose something. */
export function wouldLose({ phase, adapter, isSaved }: PageState): boolean {
  return isLocked(phase) || (adapter !== undefined && !isSaved);
}

/** Keeps this tab's note, and has the browser ask before a tab with something to lose is closed. */
export function keepNote(store: StoreApi<PageState>): void {
  const key = PREFIX + crypto.randomUUID();
  // Held until the tab is gone: nothing resolves it.
  void navigator.locks.request(key, () => new Promise<void>(() => {}));
  let writtenMs = 0;
  let wasLosing = false;
  store.subscribe((state, before) => {
    const losing = wouldLose(state);
    if (!losing) {
      if (wasLosing) localStorage.removeItem(key);
    } else if (!wasLosing || state.phase !== before.phase || Date.now() - writtenMs > NOTE_MS) {
      writtenMs = Date.now();
      localStorage.setItem(key, JSON.stringify(noteOf(state)));
    }
    wasLosing = losing;
  });
  window.addEventListener("beforeunload", (event) => {
    if (wouldLose(store.getState())) event.preventDefault();
  });
}

function noteOf({ choices, last, summary, phase }: PageState): RunNote {
  return {
    title: bundledSetOf(choices)?.title ?? "data of your own",
    step: last?.step ?? 0,
    steps: summary?.steps ?? 0,
    ended: !isLocked(phase),
    savedAtMs: Date.now(),
  };
}
