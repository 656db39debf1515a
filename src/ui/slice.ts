import type { StateCreator } from "zustand/vanilla";
import type { Latest } from "./latest.ts";
import type { OpeningParts } from "./opening.ts";
import type { PageState } from "./pageState.ts";

/** What the slices of the page's store share. */
export interface SliceParts extends OpeningParts {
  /** Answers and scores that were asked for. */
  readonly asks: Latest;
  /** Plans the run as it is chosen now; what was open is ended. */
  readonly open: (delayMs?: number) => Promise<void>;
}

/** Makes one part of the page's state, which reaches the others by `get`. */
export type Slice<Part> = StateCreator<PageState, [], [], Part>;
