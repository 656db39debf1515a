/** The page's store. It knows no React and no document, only the worker that it asks. */
import { createStore, type StoreApi } from "zustand/vanilla";
import type { TrainApi } from "../worker/api.ts";
import { SideBySide } from "./asking.ts";
import { askingSlice } from "./askingSlice.ts";
import type { Bundle } from "./bundle.ts";
import { choicesSlice } from "./choicesSlice.ts";
import { exportsSlice } from "./exportsSlice.ts";
import { Latest } from "./latest.ts";
import { opener } from "./opening.ts";
import { noRun, type PageState } from "./pageState.ts";
import { keepTargets } from "./previewing.ts";
import { runSlice } from "./runSlice.ts";

export function createPageStore(worker: TrainApi, bundle: Bundle): StoreApi<PageState> {
  const opens = new Latest();
  const asks = new Latest();
  const parts = { worker, bundle, opens, asks, sideBySide: new SideBySide(worker) };

  const store = createStore<PageState>()((set, get, api) => {
    const shared = { ...parts, open: opener(parts, api) };
    return {
      ...choicesSlice(shared)(set, get, api),
      ...runSlice(shared)(set, get, api),
      ...askingSlice(shared)(set, get, api),
      ...exportsSlice(shared)(set, get, api),
    };
  });

  async function watchDevice(): Promise<void> {
    for (;;) {
      const lost = worker.deviceLost();
      const device = await worker.device();
      store.setState({ device });
      if (!device.ok) {
        // What is being opened would be refused for the same reason. Rows can be looked at all the same.
        store.getState().choose({});
      }
      const problem = await lost;
      opens.end();
      asks.end();
      store.setState({ ...noRun(), phase: "choosing", problem, asking: undefined });
      // Then it is the worker that is gone, and no other device to ask it for.
      if (problem.code !== "device-lost") return;
    }
  }
  void watchDevice();
  keepTargets(store, worker, bundle);
  store.getState().choose({});
  return store;
}
