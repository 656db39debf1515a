import { Button } from "@radix-ui/themes";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { BundledSet } from "../data/bundled.ts";
import { type Check, isRight, type Share, shareOf } from "./asking.ts";
import { count } from "./format.ts";
import { bundledSetOf } from "./material.ts";
import { Panel } from "./Panel.tsx";
import type { PageState } from "./pageState.ts";
import { Scroll } from "./Scroll.tsx";

/** Before and after, as a number: for data that can be scored. */
export function Scores({ store }: { store: StoreApi<PageState> }) {
  const set = useStore(store, ({ choices }) => bundledSetOf(choices));
  const isToy = useStore(store, ({ choices }) => choices.model === undefined);
  const scores = useStore(store, (state) => state.scores);
  const asking = useStore(store, (state) => state.asking);
  const heldOut = useStore(store, (state) => state.heldOut);
  const outcome = useStore(store, (state) => state.outcome);
  const phase = useStore(store, (state) => state.phase);
  const hasSteps = useStore(store, ({ last }) => last !== undefined);
  const { score, stopAsking, curves } = store.getState();
  if (!hasSteps || (!set && !heldOut)) return null;
  const withPeft = isToy && set !== undefined && (set.metric === "loss" || scores !== undefined);
  // Of a run that ended with its best it is not the last loss that the adapter has.
  const tunedStep = outcome?.finished ? outcome.adapterStep : (heldOut?.last.step ?? 0);
  const tunedLoss = curves.heldOutLoss.at(curves.heldOutStep.values.indexOf(tunedStep));
  const canScore = set?.kind === "chat" && (phase === "paused" || phase === "done");
  return (
    <Panel
      title="Before and after"
      aside={
        asking === "scores" ? (
          <span className="line">
            <span className="quiet small" aria-live="polite">
              {scores ? `${count(scores.done)} of ${count(scores.total)} answers` : "…"}
            </span>
            <Button size="1" variant="soft" color="gray" onClick={stopAsking}>
              Stop scoring
            </Button>
          </span>
        ) : (
          canScore && (
            <Button size="1" variant="soft" onClick={() => void score()}>
              {scores ? "Score again" : "Score"}
            </Button>
          )
        )
      }
    >
      <table className="scores" aria-label="Scores">
        <thead>
          <tr>
            <td />
            <th scope="col">Base</th>
            <th scope="col">Tuned</th>
            {withPeft && <th scope="col">PEFT, same run</th>}
          </tr>
        </thead>
        <tbody>
          {set?.kind === "chat" &&
            scores?.checks.map((check) => (
              <CheckRow key={check.id} check={check} set={set} withPeft={withPeft} />
            ))}
          {heldOut && (
            <tr>
              <th scope="row">Held-out loss, nats a token</th>
              <td>{heldOut.first.eval_loss.toFixed(2)}</td>
              <td>
                {tunedStep > 0 ? tunedLoss.toFixed(2) : "—"}
                {tunedStep > 0 && <span className="quiet"> after step {count(tunedStep)}</span>}
              </td>
              {withPeft && (
                <td className="quiet">{set.metric === "loss" ? peftWords(set, undefined) : ""}</td>
              )}
            </tr>
          )}
        </tbody>
      </table>
      {set?.metric === "accuracy" && (
        <p className="quiet small">Guessing comes to {Math.round(100 * set.chance)} %.</p>
      )}
      {isToy && (
        <p className="quiet small">
          These are figures of the toy. They say that the adapter has learnt these rows, and nothing about how
          good a model it is. PEFT's are of the recommended settings.
        </p>
      )}
      {scores?.checks.map((check) => (
        <AnswerList key={check.id} check={check} />
      ))}
    </Panel>
  );
}

function CheckRow({ check, set, withPeft }: { check: Check; set: BundledSet; withPeft: boolean }) {
  return (
    <tr>
      <th scope="row">
        {check.title}
        <span className="quiet"> {check.heldOut ? "(not trained on)" : "(trained on)"}</span>
      </th>
      <td>{shareWords(shareOf(check, "base"))}</td>
      <td>{shareWords(shareOf(check, "tuned"))}</td>
      {withPeft && <td className="quiet">{peftWords(set, check.id)}</td>}
    </tr>
  );
}

function shareWords(share: Share | undefined): string {
  return share ? `${share.right} of ${share.total}` : "—";
}

function peftWords(set: BundledSet, id: string | undefined): string {
  const check = id === undefined ? set.checks[0] : set.checks.find((candidate) => candidate.id === id);
  if (!check) return "";
  const { before, after } = check.withPeft;
  const write = (value: number) =>
    set.metric === "loss" ? value.toFixed(2) : `${Math.round(100 * value)} %`;
  return `${write(before)} → ${write(after)}`;
}

function AnswerList({ check }: { check: Check }) {
  return (
    <details>
      <summary>
        {check.title}: all {count(check.answers.length)} answers
      </summary>
      <Scroll label="Answers to the questions">
        <table>
          <thead>
            <tr>
              <th scope="col">Question</th>
              <th scope="col">Wanted</th>
              <th scope="col">Base</th>
              <th scope="col">Tuned</th>
            </tr>
          </thead>
          <tbody>
            {check.answers.map(({ question, wanted, base, tuned }) => (
              <tr key={question}>
                <td>{question}</td>
                <td>{wanted}</td>
                <Judged text={base} wanted={wanted} />
                <Judged text={tuned} wanted={wanted} />
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </details>
  );
}

function Judged({ text, wanted }: { text: string | undefined; wanted: string }) {
  if (text === undefined) return <td className="quiet">—</td>;
  const right = isRight(text, wanted);
  return (
    <td className={right ? "right" : "wrong"}>
      <span role="img" aria-label={right ? "right" : "wrong"}>
        {right ? "✓" : "✗"}
      </span>{" "}
      {text}
    </td>
  );
}
