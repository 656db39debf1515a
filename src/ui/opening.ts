/** Plans the run as it is chosen. */
import type { StoreApi } from "zustand/vanilla";
import { failure } from "../base/errors.ts";
import type { DataFacts, Progress, Result, RunSummary, TrainApi } from "../worker/api.ts";
import { type SideBySide, samplesOf } from "./asking.ts";
import type { Bundle } from "./bundle.ts";
import type { Latest } from "./latest.ts";
import { bundledSetOf, dataRequestFor, heldOutShare, isChosen, requestFor } from "./material.ts";
import { noRun, type PageState, runSettings } from "./pageState.ts";
import { promptsFrom } from "./rows.ts";

/** Typing is not opened letter by letter. */
export const TYPING_MS = 300;

export interface OpeningParts {
  readonly worker: TrainApi;
  readonly bundle: Bundle;
  /** Runs that were asked for: what is asked for meanwhile wins. */
  readonly opens: Latest;
  readonly sideBySide: SideBySide;
}

/** Gives `open`: the run as it is chosen now is planned; what was open is ended. */
export function opener(
  { worker, bundle, opens, sideBySide }: OpeningParts,
  { getState: get, setState: set }: Pick<StoreApi<PageState>, "getState" | "setState">,
): (delayMs?: number) => Promise<void> {
  let typing: ReturnType<typeof setTimeout> | undefined;

  /** Rows are read, then the run is planned; undefined where the rows do not allow it. */
  async function opened(isLatest: () => boolean): Promise<Result<RunSummary> | undefined> {
    const onProgress = (progress: Progress) => isLatest() && set({ progress });
    const { choices } = get();
    const settings = runSettings(get());
    let request = await dataRequestFor(choices, settings, bundle);
    if (!isLatest()) return undefined;
    let read = await worker.readData(request, onProgress);
    const rowCount = read.ok ? read.value.train + (read.value.heldOut ?? 0) : 0;
    if (isLatest() && heldOutShare(choices, rowCount) !== heldOutShare(choices)) {
      request = await dataRequestFor(choices, settings, bundle, rowCount);
      read = await worker.readData(request, onProgress);
    }
    if (!isLatest()) return undefined;
    const isPlanned = takeFacts(read) && get().device?.ok !== false;
    if (!isPlanned) return undefined;
    const { asksWhileTraining, prompts, promptForm, answerSettings } = get();
    const samples = asksWhileTraining ? samplesOf(prompts, promptForm, answerSettings) : undefined;
    const whole = await requestFor(choices, request, bundle, samples);
    return isLatest() ? worker.open(whole, onProgress) : undefined;
  }

  /** Whether there are rows to train on. */
  function takeFacts(read: Result<DataFacts>): boolean {
    const facts = read.ok ? read.value : undefined;
    set({ facts, dataProblem: read.ok ? facts?.refusal : read });
    if (!facts || facts.refusal) return false;
    const { preview } = facts;
    if (bundledSetOf(get().choices) || get().promptsAreOwn || preview.length === 0) return true;
    const form = preview.some(({ question }) => question !== undefined) ? "chat" : "text";
    set({ prompts: promptsFrom(preview), promptForm: form });
    return true;
  }

  return async (delayMs = 0) => {
    const isLatest = opens.begin();
    clearTimeout(typing);
    get().stopAsking();
    sideBySide.forget();
    void worker.stopOpening();
    const complete = isChosen(get().choices) && Object.keys(get().mistakes).length === 0;
    set({ ...noRun(), phase: complete ? "opening" : "choosing", problem: undefined });
    if (!complete) {
      set({ dataProblem: undefined, ...(isChosen(get().choices) ? {} : { facts: undefined }) });
      return;
    }
    if (delayMs > 0) await new Promise((resolve) => (typing = setTimeout(resolve, delayMs)));
    if (!isLatest()) return;
    let result: Result<RunSummary> | undefined;
    try {
      result = await opened(isLatest);
    } catch (thrown) {
      result = failure(thrown);
    }
    // Meanwhile something else was chosen: what counts is the answer to that.
    if (!isLatest()) return;
    set({ progress: undefined });
    if (result?.ok) set({ phase: "ready", summary: result.value });
    else set({ phase: "choosing", problem: result });
  };
}
