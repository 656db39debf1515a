import { useId, useMemo } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { Sample, SampleReport } from "../worker/api.ts";
import { changesIn } from "./changes.ts";
import { count } from "./format.ts";
import { Panel } from "./Panel.tsx";
import type { PageState } from "./pageState.ts";

/** Besides the first answers, so many of the last are shown. */
const SHOWN = 10;

/** What the prompts were answered with as the model learnt; words that were not there before are marked. */
export function Samples({ store }: { store: StoreApi<PageState> }) {
  const reports = useStore(store, (state) => state.samples);
  const first = reports[0];
  if (!first) return null;
  return (
    <Panel title="Answers while training">
      {first.samples.map(({ prompt }, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the prompts of a run stay as they are
        <Progression key={i} prompt={wordsOf(prompt)} reports={reports} at={i} />
      ))}
    </Panel>
  );
}

function wordsOf(prompt: Sample["prompt"]): string {
  return typeof prompt === "string" ? prompt : (prompt.at(-1)?.content ?? "");
}

interface ProgressionProps {
  readonly prompt: string;
  readonly reports: readonly SampleReport[];
  /** Which of the prompts. */
  readonly at: number;
}

/** The answers to one prompt, the newest first. */
function Progression({ prompt, reports, at }: ProgressionProps) {
  const answers = reports.map(({ step, samples }) => ({ step, ...samples[at]! }));
  const id = useId();
  const draws = answers[0]!.sampled !== null;
  return (
    <div>
      <h3 id={id}>{prompt}</h3>
      <table className="answers steps" aria-labelledby={id}>
        <thead>
          <tr>
            <th scope="col">After</th>
            <th scope="col">Greedy</th>
            {draws && <th scope="col">Drawn</th>}
          </tr>
        </thead>
        <tbody>
          {answers
            .map(({ step, greedy, sampled }, i) => {
              const before = answers[i - 1];
              return (
                <tr key={step}>
                  <th scope="row">step {count(step)}</th>
                  <Said label="Greedy" text={greedy} before={before?.greedy} />
                  {draws && <Said label="Drawn" text={sampled ?? ""} before={before?.sampled ?? undefined} />}
                </tr>
              );
            })
            .filter((_, i) => i === 0 || i >= answers.length - SHOWN)
            .reverse()}
        </tbody>
      </table>
    </div>
  );
}

interface SaidProps {
  readonly label: string;
  readonly text: string;
  /** The answer before it, where there is one. */
  readonly before: string | undefined;
}

function Said({ label, text, before }: SaidProps) {
  const pieces = useMemo(() => changesIn(text, before ?? text), [text, before]);
  return (
    <td data-label={label} className={text === "" ? "quiet" : ""}>
      {text === ""
        ? "(nothing)"
        : pieces.map((piece, i) => {
            const Tag = piece.isNew ? "mark" : "span";
            // biome-ignore lint/suspicious/noArrayIndexKey: a text's pieces are made anew with it
            return <Tag key={i}>{piece.text}</Tag>;
          })}
    </td>
  );
}
