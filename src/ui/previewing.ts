/** Keeps the preview of what trains in step with model and settings. */
import type { StoreApi } from "zustand/vanilla";
import { failure } from "../base/errors.ts";
import type { PreviewRequest, Result, TargetPreview, TrainApi } from "../worker/api.ts";
import type { Bundle } from "./bundle.ts";
import { Latest } from "./latest.ts";
import type { PageState } from "./pageState.ts";

/** Short enough to follow what one types. */
const TYPING_MS = 100;

export function keepTargets(store: StoreApi<PageState>, worker: TrainApi, bundle: Bundle): void {
  const previews = new Latest();
  let typing: ReturnType<typeof setTimeout> | undefined;

  async function preview(): Promise<void> {
    const isLatest = previews.begin();
    const { choices, settings } = store.getState();
    let targets: Result<TargetPreview>;
    try {
      const model = choices.model ?? (await bundle.model());
      const { lora, train } = settings;
      // The form lets nothing else through.
      const requires_grad = (train.requires_grad ?? null) as string[] | null;
      const request: PreviewRequest = { model, lora, requires_grad, adapter: choices.adapter };
      targets = await worker.previewTargets(request);
    } catch (thrown) {
      targets = failure(thrown);
    }
    if (isLatest()) store.setState({ targets });
  }

  store.subscribe(({ choices, settings }, before) => {
    const isSame =
      settings.lora === before.settings.lora &&
      settings.train.requires_grad === before.settings.train.requires_grad &&
      choices.model === before.choices.model &&
      choices.adapter === before.choices.adapter;
    if (isSame) return;
    clearTimeout(typing);
    typing = setTimeout(() => void preview(), TYPING_MS);
  });
  void preview();
}
