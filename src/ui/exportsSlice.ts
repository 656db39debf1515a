/** What the run has trained, on its way to the user. */
import { type ExportsSlice, modelName } from "./pageState.ts";
import type { Slice, SliceParts } from "./slice.ts";

export function exportsSlice({ worker }: SliceParts): Slice<ExportsSlice> {
  return (set, get) => ({
    adapter: undefined,
    isSaved: true,
    takeAdapter: async () => {
      const { adapter, phase } = get();
      if (adapter && phase !== "paused") return adapter;
      const result = await worker.export("peft", (progress) => set({ progress }));
      set({ progress: undefined });
      if (result.ok) return { ...result.value, name: `${modelName(get())}-lora.zip` };
      set({ problem: result });
      return undefined;
    },
    exportChoices: () => {
      // Whoever wants the files does not wait for more answers.
      get().stopAsking();
      return worker.exportChoices();
    },
    exportAs: async (format, onProgress) => {
      get().stopAsking();
      const { phase } = get();
      const result = await worker.export(format, onProgress);
      // Of a merged model nobody gets the adapter back.
      const holdsAdapter = format === "peft" || format === "gguf";
      if (result.ok && holdsAdapter && phase === "done") get().saved();
      return result;
    },
    stopExport: () => void worker.stopExport(),
    saved: () => set({ isSaved: true }),
  });
}
