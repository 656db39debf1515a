/** What the page knows and can do. It knows no React and no document, only the worker that it asks. */
import { createStore, type StoreApi } from "zustand/vanilla";
import type {
  DeviceFacts,
  Failure,
  Folder,
  Progress,
  Result,
  RunSummary,
  StepReport,
  TrainApi,
} from "../worker/api.ts";

export interface Choices {
  readonly model?: Folder | undefined;
  readonly data?: File | undefined;
  readonly run?: File | undefined;
  readonly adapter?: Folder | undefined;
}

/**
 * choosing: something is missing or was refused. opening: files are read and the run is planned. ready: it can begin.
 * preparing: the model is loaded and kernels are compiled. done: no step is left, or the user stopped it.
 */
export type Phase = "choosing" | "opening" | "ready" | "preparing" | "training" | "paused" | "done";

export interface PageState {
  readonly phase: Phase;
  readonly choices: Choices;
  /** Absent until the worker has answered. */
  readonly device?: Result<DeviceFacts> | undefined;
  readonly summary?: RunSummary | undefined;
  readonly progress?: Progress | undefined;
  readonly first?: StepReport | undefined;
  readonly last?: StepReport | undefined;
  /** Trained tokens a second over the last steps; absent until two steps can be compared. */
  readonly tokensPerSecond?: number | undefined;
  readonly problem?: Failure | undefined;
  choose(choice: Choices): void;
  train(): Promise<void>;
  pause(): void;
  stop(): void;
  /** The adapter's files, or undefined with `problem` set. */
  takeAdapter(): Promise<Record<string, Uint8Array> | undefined>;
}

/** Steps that the shown speed is measured over. */
const SPEED_STEPS = 20;

const NO_RUN = { summary: undefined, ...noSteps() };

function noSteps(): Partial<PageState> {
  return { progress: undefined, first: undefined, last: undefined, tokensPerSecond: undefined };
}

export function createPageStore(worker: TrainApi): StoreApi<PageState> {
  let opens = 0;
  let stopping = false;
  let recent: StepReport[] = [];

  const store = createStore<PageState>()((set, get) => {
    async function open(): Promise<void> {
      const asked = ++opens;
      const { model, data, run, adapter } = get().choices;
      recent = [];
      set({ ...NO_RUN, phase: "choosing", problem: undefined });
      if (!model || !data || get().device?.ok === false) return;
      set({ phase: "opening" });
      const result = await worker.open({ model, data, run: run ?? {}, adapter });
      // Meanwhile something else was chosen: what counts is the answer to that.
      if (asked !== opens) return;
      if (result.ok) set({ phase: "ready", summary: result.value });
      else set({ phase: "choosing", problem: result });
    }

    function take(reports: readonly StepReport[]): void {
      recent = [...recent, ...reports].slice(-SPEED_STEPS - 1);
      set((state) => ({
        phase: state.phase === "preparing" ? "training" : state.phase,
        first: state.first ?? reports[0],
        last: reports.at(-1),
        tokensPerSecond: speedOf(recent),
      }));
    }

    return {
      phase: "choosing",
      choices: {},
      choose: (choice) => {
        set(({ choices }) => ({ choices: { ...choices, ...choice } }));
        void open();
      },
      train: async () => {
        if (get().phase !== "ready" && get().phase !== "paused") await open();
        const { phase } = get();
        if (phase !== "ready" && phase !== "paused") return;
        stopping = false;
        set({ phase: phase === "paused" ? "training" : "preparing", problem: undefined });
        const result = await worker.train(
          (progress) => set({ progress }),
          (reports) => take(reports.filter((report) => "loss" in report)),
        );
        if (!result.ok) {
          set({ phase: "choosing", problem: result });
        } else if (result.value.finished || (stopping && result.value.steps > 0)) {
          set({ phase: "done" });
        } else {
          // Stopped before the first step: nothing is lost, it can still begin.
          set({ phase: result.value.steps > 0 ? "paused" : "ready" });
        }
      },
      pause: () => void worker.pause(),
      stop: () => {
        if (get().phase === "paused") {
          set({ phase: "done" });
          return;
        }
        stopping = true;
        void worker.pause();
      },
      takeAdapter: async () => {
        const result = await worker.adapter();
        if (result.ok) return result.value;
        set({ problem: result });
        return undefined;
      },
    };
  });

  async function watchDevice(): Promise<void> {
    for (;;) {
      const lost = worker.deviceLost();
      store.setState({ device: await worker.device() });
      const problem = await lost;
      store.setState({ ...NO_RUN, phase: "choosing", problem });
      // Then it is the worker that is gone, and no other device to ask it for.
      if (problem.code !== "device-lost") return;
    }
  }
  void watchDevice();
  return store;
}

/** Tokens of all but the first of these steps, over the time from its end to the end of the last. */
export function speedOf(reports: readonly StepReport[]): number | undefined {
  const [first, ...rest] = reports;
  const last = rest.at(-1);
  if (!first || !last || last.elapsed_ms <= first.elapsed_ms) return undefined;
  const tokens = rest.reduce((sum, report) => sum + report.tokens, 0);
  return (1000 * tokens) / (last.elapsed_ms - first.elapsed_ms);
}
