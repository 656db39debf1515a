import { Button, SegmentedControl, Switch, TextField } from "@radix-ui/themes";
import { type FormEvent, useId, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { type AskedPrompt, askingWords, type PromptForm } from "./asking.ts";
import { counted, strengthWords } from "./format.ts";
import { Panel } from "./Panel.tsx";
import { isLocked, type PageState, questionOf } from "./pageState.ts";
import { Strength } from "./Strength.tsx";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

/** The base model and the tuned one answer the same prompts, with the same seed. */
export function Answers({ store }: StoreProps) {
  const phase = useStore(store, (state) => state.phase);
  const asked = useStore(store, (state) => state.asked);
  const asking = useStore(store, (state) => state.asking) === "answers";
  const strength = useStore(store, (state) => state.strength);
  const { ask, stopAsking, setStrength } = store.getState();
  const canAsk = phase === "ready" || phase === "paused" || phase === "done";
  const step = asked?.step ?? 0;
  return (
    <Panel
      title="Base and tuned, side by side"
      aside={
        <div className="how">
          <How store={store} />
          <WhileTraining store={store} />
        </div>
      }
    >
      <AnswerTable
        store={store}
        asked={asked}
        tuned={step > 0 ? tunedWords(step, asked?.strength ?? 1) : "Tuned"}
        waits={{ base: asking, tuned: asking && step > 0 }}
      />
      <Strength
        label="Strength of the adapter"
        about="in the answers of the tuned model"
        value={strength}
        onChange={setStrength}
        onRest={() => {
          if (step > 0 && canAsk && asked?.strength !== store.getState().strength) void ask();
        }}
      />
      <AskForm store={store} isAsking={asking} canAsk={canAsk} onAsk={() => void ask()} onStop={stopAsking} />
    </Panel>
  );
}

function tunedWords(step: number, strength: number): string {
  return `Tuned, ${counted(step, "step")}${strength === 1 ? "" : `, at ${strengthWords(strength)}`}`;
}

interface AskFormProps {
  readonly store: StoreApi<PageState>;
  readonly isAsking: boolean;
  readonly canAsk: boolean;
  readonly onAsk: () => void;
  readonly onStop: () => void;
}

/** Asks the prompts that are there, and what was written beside them. */
export function AskForm({ store, isAsking, canAsk, onAsk, onStop }: AskFormProps) {
  const [own, setOwn] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const { prompts, setPrompts } = store.getState();
    if (own.trim() !== "") setPrompts([...prompts, own.trim()]);
    setOwn("");
    onAsk();
  };
  return (
    <form className="ask" onSubmit={submit}>
      <TextField.Root
        aria-label="Your own question"
        placeholder="Ask something of your own"
        value={own}
        onChange={({ target }) => setOwn(target.value)}
      />
      {isAsking ? (
        <Button type="button" variant="soft" color="gray" onClick={onStop}>
          Stop answering
        </Button>
      ) : (
        <Button type="submit" variant="soft" disabled={!canAsk}>
          Ask
        </Button>
      )}
    </form>
  );
}

/** How the next token is chosen, and how a prompt is put. */
export function How({ store }: StoreProps) {
  const settings = useStore(store, (state) => state.answerSettings);
  const form = useStore(store, (state) => state.promptForm);
  const prompts = useStore(store, (state) => state.prompts);
  const { setAnswering, setPrompts } = store.getState();
  return (
    <div className="how">
      <SegmentedControl.Root
        size="1"
        aria-label="How a prompt is put"
        value={form}
        onValueChange={(value) => setPrompts(prompts, value as PromptForm)}
      >
        <SegmentedControl.Item value="chat">as a question</SegmentedControl.Item>
        <SegmentedControl.Item value="text">as text to go on with</SegmentedControl.Item>
      </SegmentedControl.Root>
      <SegmentedControl.Root
        size="1"
        aria-label="How a token is chosen"
        value={settings.do_sample ? "sampled" : "greedy"}
        onValueChange={(value) => setAnswering({ do_sample: value === "sampled" })}
      >
        <SegmentedControl.Item value="greedy">greedy</SegmentedControl.Item>
        <SegmentedControl.Item value="sampled">sampled</SegmentedControl.Item>
      </SegmentedControl.Root>
      {settings.do_sample && (
        <>
          <NumberBox
            label="Temperature"
            value={settings.temperature}
            accepts={(value) => value >= 0 && value <= 5}
            onChange={(temperature) => setAnswering({ temperature })}
          />
          <NumberBox
            label="Seed"
            value={settings.seed}
            accepts={(value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32}
            onChange={(seed) => setAnswering({ seed })}
          />
        </>
      )}
    </div>
  );
}

function WhileTraining({ store }: StoreProps) {
  const asksWhileTraining = useStore(store, (state) => state.asksWhileTraining);
  const locked = useStore(store, ({ phase }) => isLocked(phase));
  const { askWhileTraining } = store.getState();
  const id = useId();
  return (
    <span className="line small">
      <Switch
        id={id}
        size="1"
        checked={asksWhileTraining}
        disabled={locked}
        onCheckedChange={askWhileTraining}
      />
      <label htmlFor={id}>while training, too</label>
    </span>
  );
}

interface NumberBoxProps {
  readonly label: string;
  readonly value: number;
  readonly accepts: (value: number) => boolean;
  readonly onChange: (value: number) => void;
}

function NumberBox({ label, value, accepts, onChange }: NumberBoxProps) {
  const [text, setText] = useState(String(value));
  const id = useId();
  const isRight = (written: string) => written.trim() !== "" && accepts(Number(written));
  return (
    <span className="number-box">
      <label htmlFor={id}>{label}</label>
      <TextField.Root
        id={id}
        size="1"
        inputMode="decimal"
        value={text}
        color={isRight(text) ? undefined : "red"}
        onChange={({ target }) => {
          setText(target.value);
          if (isRight(target.value)) onChange(Number(target.value));
        }}
      />
    </span>
  );
}

interface AnswerTableProps {
  readonly store: StoreApi<PageState>;
  /** The answers that are there, and how they were asked for. */
  readonly asked: { readonly how: string; readonly answers: readonly AskedPrompt[] } | undefined;
  /** What the second column is called. */
  readonly tuned: string;
  /** Those of the second column are of another model than would be asked now. */
  readonly isTunedStale?: boolean;
  /** Which answers are on their way. */
  readonly waits: { readonly base: boolean; readonly tuned: boolean };
}

/** The prompts of the page, and what two models say to them. */
export function AnswerTable({ store, asked, tuned, isTunedStale = false, waits }: AnswerTableProps) {
  const prompts = useStore(store, (state) => state.prompts);
  const how = useStore(store, (state) => askingWords(questionOf(state)));
  const { setPrompts } = store.getState();
  const known = new Map(asked?.answers.map((answer) => [answer.prompt, answer]));
  const isStale = asked !== undefined && asked.how !== how;
  return (
    <>
      <table className="answers" aria-label="Answers">
        <thead>
          <tr>
            <th scope="col">Prompt</th>
            <th scope="col">Base</th>
            <th scope="col">{tuned}</th>
          </tr>
        </thead>
        <tbody>
          {prompts.map((prompt, at) => {
            const { base, tuned: said } = known.get(prompt) ?? {};
            return (
              <tr key={prompt}>
                <th scope="row">
                  <span className="prompt">
                    {prompt}
                    <Button
                      type="button"
                      size="1"
                      variant="ghost"
                      color="gray"
                      aria-label={`Remove: ${prompt}`}
                      onClick={() => setPrompts(prompts.filter((_, i) => i !== at))}
                    >
                      ✕
                    </Button>
                  </span>
                </th>
                <Said label="Base" text={base} waits={waits.base} isStale={isStale} />
                <Said
                  label={tuned}
                  text={said}
                  waits={waits.tuned}
                  isStale={isStale || isTunedStale}
                  differs={base !== undefined && said !== base}
                />
              </tr>
            );
          })}
        </tbody>
      </table>
      {isStale && (
        <p className="small" role="status">
          The prompts were {asked.how}. Settings have changed since: ask again.
        </p>
      )}
    </>
  );
}

interface SaidProps {
  readonly label: string;
  readonly text: string | undefined;
  readonly waits: boolean;
  /** It is no answer to what would be asked now. */
  readonly isStale: boolean;
  readonly differs?: boolean;
}

function Said({ label, text, waits, isStale, differs = false }: SaidProps) {
  const shown = text === undefined ? (waits ? "…" : "—") : text === "" ? "(nothing)" : text;
  const isQuiet = isStale || text === undefined || text === "";
  return (
    <td data-label={label} className={isQuiet ? "quiet" : differs ? "differs" : ""}>
      {shown}
    </td>
  );
}
