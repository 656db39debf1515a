import { Button } from "@radix-ui/themes";
import { useStore } from "zustand";
import { AdapterCard } from "./AdapterCard.tsx";
import { AdapterChoosers } from "./AdapterChoosers.tsx";
import { AnswerTable, AskForm, How } from "./Answers.tsx";
import { type HeldAdapter, isUsable, usesWords } from "./adapterStore.ts";
import { count } from "./format.ts";
import { Panel } from "./Panel.tsx";
import { Problem } from "./Problem.tsx";
import { isTraining } from "./pageState.ts";
import type { ViewProps } from "./view.ts";

/** Adapters from anywhere on the model that is chosen: what they hold, and what they answer, alone and together. */
export function AdaptersView({ store, adapters, show }: ViewProps) {
  const held = useStore(adapters, (state) => state.held);
  return (
    <div className="adapters-view">
      <div className="side">
        <AddPanel store={store} adapters={adapters} />
        {held.map((adapter) => (
          <AdapterCard key={adapter.key} store={store} adapters={adapters} held={adapter} show={show} />
        ))}
      </div>
      <div className="results">
        <Together store={store} adapters={adapters} />
      </div>
    </div>
  );
}

type PartProps = Pick<ViewProps, "store" | "adapters">;

function AddPanel({ store, adapters }: PartProps) {
  const base = useStore(adapters, (state) => state.base);
  const model = useStore(store, ({ choices }) => choices.model);
  const hasTrained = useStore(store, ({ phase, adapter }) => phase === "paused" || adapter !== undefined);
  const { add, addTrained } = adapters.getState();
  const { modelType, parameters, layers } = base?.ok ? base.value : {};
  return (
    <Panel title="Adapters">
      <p className="small">
        Base model: {model?.label ?? "the bundled toy"}
        {base?.ok && ` (${modelType}, ${count(parameters!)} parameters, ${layers} layers)`}. Another can be
        chosen under Train.
      </p>
      {base?.ok === false && <Problem title="The base model cannot be opened" failure={base} />}
      <AdapterChoosers onChoose={(sources) => void add(sources)} />
      <Button variant="soft" className="start" disabled={!hasTrained} onClick={() => void addTrained()}>
        Add the adapter trained here
      </Button>
    </Panel>
  );
}

/** The page's prompts, answered by the base alone and by the base with these adapters. */
function Together({ store, adapters }: PartProps) {
  const held = useStore(adapters, (state) => state.held);
  const asked = useStore(adapters, (state) => state.asked);
  const isAsking = useStore(adapters, (state) => state.isAsking);
  const problem = useStore(adapters, (state) => state.problem);
  const phase = useStore(store, (state) => state.phase);
  const { ask, stop } = adapters.getState();
  const words = usesWords(held);
  const trains = isTraining(phase);
  const isStale = asked !== undefined && asked.words !== words;
  return (
    <Panel title="Base and adapters, side by side" aside={<How store={store} />}>
      <p className="small" role="status">
        {aboutWords(held, words, { trains, isStale })}
      </p>
      {problem && <Problem title="That could not be answered" failure={problem} />}
      <AnswerTable
        store={store}
        asked={asked}
        tuned="With adapters"
        isTunedStale={isStale}
        waits={{ base: isAsking, tuned: isAsking }}
      />
      <AskForm
        store={store}
        isAsking={isAsking}
        canAsk={!trains && held.some(isUsable)}
        onAsk={() => void ask()}
        onStop={stop}
      />
    </Panel>
  );
}

/** What answers, or why nothing does. */
function aboutWords(
  held: readonly HeldAdapter[],
  words: string,
  { trains, isStale }: { trains: boolean; isStale: boolean },
): string {
  if (trains) return "While a run trains nothing else is answered.";
  if (held.some(isUsable))
    return `${isStale ? "Ask, and the base answers now with" : "The base with"} ${words}.`;
  if (!held.some(({ opened }) => opened?.ok)) return "Add an adapter, and it answers beside its base.";
  return "None of these adapters fits the model. Choose their base under Train, or add another adapter.";
}
