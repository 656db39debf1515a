import { Button, SegmentedControl, Switch, TextField } from "@radix-ui/themes";
import { type FormEvent, useId, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { AskedPrompt, PromptForm } from "./asking.ts";
import { count } from "./format.ts";
import { Panel } from "./Panel.tsx";
import { isLocked, type PageState } from "./store.ts";

interface StoreProps {
  readonly store: StoreApi<PageState>;
}

/** The base model and the tuned one answer the same prompts, with the same seed. */
export function Answers({ store }: StoreProps) {
  const phase = useStore(store, (state) => state.phase);
  const asking = useStore(store, (state) => state.asking);
  const prompts = useStore(store, (state) => state.prompts);
  const { ask, stopAsking, setPrompts } = store.getState();
  const [own, setOwn] = useState("");
  const canAsk = phase === "ready" || phase === "paused" || phase === "done";
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (own.trim() !== "") setPrompts([...prompts, own.trim()]);
    setOwn("");
    void ask();
  };
  return (
    <Panel title="Base and tuned, side by side" aside={<How store={store} />}>
      <AnswerTable store={store} />
      <form className="ask" onSubmit={submit}>
        <TextField.Root
          aria-label="Your own question"
          placeholder="Ask something of your own"
          value={own}
          onChange={({ target }) => setOwn(target.value)}
        />
        {asking === "answers" ? (
          <Button type="button" variant="soft" color="gray" onClick={stopAsking}>
            Stop answering
          </Button>
        ) : (
          <Button type="submit" variant="soft" disabled={!canAsk}>
            Ask
          </Button>
        )}
      </form>
    </Panel>
  );
}

/** How the next token is chosen, and how a prompt is put. */
function How({ store }: StoreProps) {
  const settings = useStore(store, (state) => state.answerSettings);
  const form = useStore(store, (state) => state.promptForm);
  const prompts = useStore(store, (state) => state.prompts);
  const asksWhileTraining = useStore(store, (state) => state.asksWhileTraining);
  const locked = useStore(store, ({ phase }) => isLocked(phase));
  const { setAnswering, setPrompts, askWhileTraining } = store.getState();
  const id = useId();
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
    </div>
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

function AnswerTable({ store }: StoreProps) {
  const prompts = useStore(store, (state) => state.prompts);
  const asked = useStore(store, (state) => state.asked);
  const asking = useStore(store, (state) => state.asking);
  const { setPrompts } = store.getState();
  const waits = asking === "answers";
  const known = new Map(asked?.answers.map((answer) => [answer.prompt, answer]));
  const tuned = asked && asked.step > 0 ? `Tuned, ${count(asked.step)} steps` : "Tuned";
  return (
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
          const answer: AskedPrompt = known.get(prompt) ?? { prompt, base: undefined, tuned: undefined };
          return (
            <tr key={prompt}>
              <th scope="row">
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
              </th>
              <Said label="Base" text={answer.base} waits={waits} />
              <Said
                label={tuned}
                text={answer.tuned}
                waits={waits && (asked?.step ?? 0) > 0}
                differs={answer.base !== undefined && answer.tuned !== answer.base}
              />
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

interface SaidProps {
  readonly label: string;
  readonly text: string | undefined;
  readonly waits: boolean;
  readonly differs?: boolean;
}

function Said({ label, text, waits, differs = false }: SaidProps) {
  const shown = text === undefined ? (waits ? "…" : "—") : text === "" ? "(nothing)" : text;
  return (
    <td data-label={label} className={text === undefined || text === "" ? "quiet" : differs ? "differs" : ""}>
      {shown}
    </td>
  );
}
