/** The run: begun, followed by its reports, paused and ended. */
import type { Report } from "../worker/api.ts";
import { noRun, type RunSlice } from "./pageState.ts";
import type { Slice, SliceParts } from "./slice.ts";

export function runSlice({ worker, opens, open }: SliceParts): Slice<RunSlice> {
  return (set, get) => {
    let stopping = false;

    function halt(): void {
      set({ isHalting: true });
      void worker.pause();
    }

    async function measure(): Promise<void> {
      const isSameRun = opens.current();
      const memory = await worker.memory();
      if (isSameRun() && memory.ok) set({ memory: memory.value });
    }

    function take(reports: readonly Report[]): void {
      const { curves, phase, heldOut, last, recorded, samples } = get();
      curves.take(reports);
      if (recorded === 0) void measure();
      const evaluations = reports.filter((report) => "eval_loss" in report);
      const first = heldOut?.first ?? evaluations[0];
      set({
        phase: phase === "preparing" ? "training" : phase,
        recorded: recorded + 1,
        last: reports.findLast((report) => "loss" in report) ?? last,
        audit: reports.find((report) => "audit" in report) ?? get().audit,
        samples: [...samples, ...reports.filter((report) => "samples" in report)],
        heldOut: first && { first, last: evaluations.at(-1) ?? heldOut?.last ?? first },
      });
    }

    /** What a run that has ended leaves behind: its adapter, what both models answer, and how they score. */
    async function conclude(): Promise<void> {
      set({ phase: "done" });
      const isSameRun = opens.current();
      const adapter = await get().takeAdapter();
      if (!isSameRun() || !adapter) return;
      set({ adapter, isSaved: false });
      await get().ask();
      if (isSameRun() && get().phase === "done" && !get().problem) await get().score();
    }

    return {
      phase: "choosing",
      device: undefined,
      ...noRun(),
      problem: undefined,
      train: async () => {
        get().stopAsking();
        if (get().phase !== "ready" && get().phase !== "paused") await open();
        const { phase } = get();
        if (phase !== "ready" && phase !== "paused") return;
        stopping = false;
        const isSameRun = opens.current();
        set({
          phase: phase === "paused" ? "training" : "preparing",
          problem: undefined,
          progress: undefined,
          outcome: undefined,
          isHalting: false,
        });
        if (phase === "ready")
          set({ adapter: undefined, isSaved: true, asked: undefined, scores: undefined });
        const result = await worker.train((progress) => set({ progress }), take);
        // The device was lost meanwhile, and that was told.
        if (!isSameRun()) return;
        set({ isHalting: false });
        if (result.ok) set({ outcome: result.value });
        if (!result.ok) {
          set({ phase: "choosing", problem: result });
        } else if (result.value.finished || (stopping && result.value.steps > 0)) {
          await conclude();
        } else {
          // Stopped before the first step: nothing is lost, it can still begin.
          set({ phase: result.value.steps > 0 ? "paused" : "ready" });
        }
      },
      pause: halt,
      stop: () => {
        if (get().phase === "paused") {
          get().stopAsking();
          void conclude();
          return;
        }
        if (get().phase === "opening") {
          void worker.stopOpening();
          return;
        }
        stopping = true;
        halt();
      },
    };
  };
}
