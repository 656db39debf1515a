import type { MemoryEstimate, RunSummary } from "../worker/api.ts";
import { bytes, count, percent } from "./format.ts";

const MEMORY_WORDS: Record<keyof MemoryEstimate, string> = {
  base: "base model",
  adapter: "adapter",
  optimizer: "optimizer",
  activations: "activations",
  inputs: "inputs",
  control: "control",
};

/** What will be trained, on what, and what it takes: known before the run begins. */
export function Summary({ summary }: { summary: RunSummary }) {
  const { rows, memory, trainable, trainableCount, parameters } = summary;
  const parts = Object.entries(MEMORY_WORDS) as [keyof MemoryEstimate, string][];
  const total = parts.reduce((sum, [part]) => sum + memory[part], 0);
  return (
    <section aria-labelledby="summary">
      <h2 id="summary">The run</h2>
      <dl>
        <dt>Base model</dt>
        <dd>
          {summary.modelType}, {count(parameters)} parameters
        </dd>
        <dt>Trains</dt>
        <dd>
          {count(trainableCount)} values ({percent(trainableCount, parameters + trainableCount)}) in{" "}
          {count(trainable.length)} tensors
        </dd>
        <dt>Data</dt>
        <dd>
          {count(rows.used)} rows, {count(rows.tokens)} tokens, {count(rows.targets)} of them trained
          {rows.leftOut > 0 && `; ${count(rows.leftOut)} rows left out: nothing to predict`}
          {rows.cut > 0 && `; ${count(rows.cut)} cut at max_length`}
          {rows.replacedSurrogates > 0 &&
            `; ${count(rows.replacedSurrogates)} half characters replaced by \ufffd`}
        </dd>
        <dt>Steps</dt>
        <dd>{count(summary.steps)}</dd>
        <dt>GPU memory</dt>
        <dd>
          {bytes(total)}: {parts.map(([part, word]) => `${word} ${bytes(memory[part])}`).join(", ")}
        </dd>
      </dl>
      {summary.warnings.length > 0 && (
        <ul className="warnings" aria-label="Notes">
          {summary.warnings.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
      )}
      <details>
        <summary>All tensors that train</summary>
        <div className="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Tensor</th>
                <th scope="col">Shape</th>
              </tr>
            </thead>
            <tbody>
              {trainable.map(({ key, shape }) => (
                <tr key={key}>
                  <td>{key}</td>
                  <td>{shape.join(" × ")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  );
}
