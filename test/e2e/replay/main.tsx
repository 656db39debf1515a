/** The page with a worker that gives back a recorded run: many reports, as fast as a fast GPU would send them. */
import { createRoot } from "react-dom/client";
import recorded from "../../../reference/dumps/runs/gpt2_gelu/metrics.jsonl?raw";
import { App } from "../../../src/ui/App.tsx";
import "../../../src/ui/style.css";
import { createAdapterStore } from "../../../src/ui/adapterStore.ts";
import type { Bundle } from "../../../src/ui/bundle.ts";
import { createPageStore } from "../../../src/ui/store.ts";
import type { Report, StepReport } from "../../../src/worker/api.ts";
import { evaluationReport, RecordedWorker, stepReport } from "../../ui/recordedWorker.ts";

const asked = new URLSearchParams(location.search);
const steps = Number(asked.get("steps"));
const perBatch = Number(asked.get("perBatch"));
/** Held-out losses and samples come so often. */
const EVALUATED_EVERY = 1000;

const run = recorded
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Pick<StepReport, "loss" | "lr" | "grad_norm" | "tokens">);

/** The recorded steps over and over, numbered on. */
function* batches(): Generator<Report[]> {
  let batch: Report[] = [];
  for (let step = 1; step <= steps; step++) {
    const { loss } = run[step % run.length]!;
    const elapsed_ms = 50 * step;
    batch.push(stepReport(step, { ...run[step % run.length]!, step, elapsed_ms }));
    if (step % EVALUATED_EVERY === 0) {
      const said = `The loss of step ${step} is ${loss}.`;
      const samples = [{ prompt: "What is the loss?", greedy: said, sampled: said.toLowerCase() }];
      batch.push(evaluationReport(step, loss, elapsed_ms), { step, samples, elapsed_ms });
    }
    if (batch.length >= perBatch || step === steps) {
      yield batch;
      batch = [];
    }
  }
}

const worker = new RecordedWorker({ batches: { [Symbol.iterator]: batches }, intervalMs: 50, steps });
const bundle: Bundle = {
  model: async () => ({ label: "recorded", files: [] }),
  rows: async (name) => new File(['{"text": "recorded"}\n'], name),
};
const store = createPageStore(worker, bundle);
const adapters = createAdapterStore(worker, store, bundle);
createRoot(document.getElementById("root")!).render(<App store={store} adapters={adapters} lost={[]} />);
