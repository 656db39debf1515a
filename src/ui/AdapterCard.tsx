import { Button } from "@radix-ui/themes";
import { useId } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { AdapterFit, Failure, OpenedAdapterFacts } from "../worker/api.ts";
import { AdapterInside } from "./AdapterInside.tsx";
import { type AdapterState, type HeldAdapter, isUsable } from "./adapterStore.ts";
import { bytes, count, counted, shortNumber } from "./format.ts";
import { Panel } from "./Panel.tsx";
import { Problem } from "./Problem.tsx";
import { isLocked } from "./pageState.ts";
import { PROGRESS_WORDS } from "./progressWords.ts";
import { Strength } from "./Strength.tsx";
import type { ViewProps } from "./view.ts";

interface CardProps extends ViewProps {
  readonly held: HeldAdapter;
}

interface HeldProps {
  readonly adapters: StoreApi<AdapterState>;
  readonly held: HeldAdapter;
}

/** One adapter: what it is, how much of it counts, and what it holds. */
export function AdapterCard({ store, adapters, held, show }: CardProps) {
  const { key, label, opened } = held;
  const locked = useStore(store, ({ phase }) => isLocked(phase));
  const hasOthers = useStore(adapters, ({ held: all }) => all.filter(isUsable).length > 1);
  const { remove, only, setStrength, askAgain } = adapters.getState();
  const trainOn = () => {
    store.getState().choose({ adapter: held.source });
    show("train");
  };
  return (
    <Panel
      title={label}
      aside={
        <Button
          size="1"
          variant="soft"
          color="gray"
          aria-label={`Remove: ${label}`}
          onClick={() => remove(key)}
        >
          Remove
        </Button>
      }
    >
      {!opened && <Reading adapters={adapters} held={held} waits={locked} />}
      {opened?.ok === false && <Unopened adapters={adapters} held={held} failure={opened} />}
      {opened?.ok && (
        <>
          <Facts facts={opened.value} />
          {opened.value.fit.ok ? (
            <>
              <Strength
                label="Strength"
                about={label}
                value={held.strength}
                onChange={(strength) => setStrength(key, strength)}
                onRest={askAgain}
              />
              <Layers adapters={adapters} held={held} fit={opened.value.fit.value} />
              <Warnings warnings={opened.value.fit.value.warnings} />
            </>
          ) : (
            <>
              <Problem title="It does not fit this model" failure={opened.value.fit} />
              <p className="small">If it was made for another model, choose that one under Train.</p>
            </>
          )}
          <AdapterInside adapters={adapters} held={held} facts={opened.value} />
          {isUsable(held) && (
            <div className="line">
              {hasOthers && (
                <Button
                  size="1"
                  variant="soft"
                  onClick={() => {
                    only(key);
                    askAgain();
                  }}
                >
                  Only this one
                </Button>
              )}
              <Button size="1" variant="soft" disabled={locked} onClick={trainOn}>
                Train on from here
              </Button>
            </div>
          )}
        </>
      )}
    </Panel>
  );
}

/** How far it is; nothing is told of what takes a moment. */
function Reading({ adapters, held: { key, label, progress }, waits }: HeldProps & { waits: boolean }) {
  if (!progress) {
    return <p className="quiet small">{waits ? "It is read once the run stands still." : "Reading…"}</p>;
  }
  const { stage, done, total } = progress;
  const [name, words] = PROGRESS_WORDS[stage](done, total);
  return (
    <>
      <progress aria-label={name} max={Math.max(1, total)} value={done} />
      <div className="line">
        <p role="status" className="quiet small">
          {words}
        </p>
        <Button
          size="1"
          variant="soft"
          color="gray"
          aria-label={`Stop: ${label}`}
          onClick={() => adapters.getState().stopOpening(key)}
        >
          Stop
        </Button>
      </div>
    </>
  );
}

function Unopened({ adapters, held: { key }, failure }: HeldProps & { failure: Failure }) {
  if (failure.code !== "stopped") return <Problem title="This adapter cannot be opened" failure={failure} />;
  return (
    <div className="line">
      <p role="status" className="quiet small">
        {failure.message}
      </p>
      <Button size="1" variant="soft" onClick={() => void adapters.getState().openAgain(key)}>
        Open it again
      </Button>
    </div>
  );
}

function Facts({ facts }: { facts: OpenedAdapterFacts }) {
  const { tensors, parameters, bytes: size, baseModel, fit } = facts;
  return (
    <p className="small">
      {fit.ok && `${fitWords(fit.value)}. `}
      {counted(tensors.length, "tensor")}, {count(parameters)} values, {bytes(size)}.
      {baseModel && ` Made for ${baseModel}.`}
    </p>
  );
}

/** `r 8, α 16 on 42 modules, 1 tensor whole`. */
function fitWords({ modules, whole, tokens }: AdapterFit): string {
  const range = (values: readonly number[]) => {
    const [low, high] = [Math.min(...values), Math.max(...values)].map(shortNumber);
    return low === high ? low : `${low}–${high}`;
  };
  const isDora = modules.some(({ dora }) => dora);
  const added =
    modules.length > 0
      ? [
          `${isDora ? "DoRA, " : ""}r ${range(modules.map(({ rank }) => rank))}, α ${range(modules.map(({ alpha }) => alpha))} on ${counted(modules.length, "module")}`,
        ]
      : [];
  const kept = whole.length > 0 ? [`${counted(whole.length, "tensor")} whole`] : [];
  const rows = tokens.map((one) => `${counted(one.rows, "row")} of ${one.module}`);
  return [...added, ...kept, ...rows].join(", ");
}

function Warnings({ warnings }: { warnings: readonly string[] }) {
  if (warnings.length === 0) return null;
  return (
    <ul className="warnings small" aria-label="Notes">
      {warnings.map((warning) => (
        <li key={warning}>{warning}</li>
      ))}
    </ul>
  );
}

/** A button for each layer that the adapter changes, and one for what it changes outside: pressed, it takes part. */
function Layers({ adapters, held, fit }: HeldProps & { fit: AdapterFit }) {
  const { key, layersOff, isRestOff } = held;
  const { setLayersOff, setRestOff, askAgain } = adapters.getState();
  const id = useId();
  if (fit.layers.length + fit.rest.length === 0) return null;
  const isOff = (layer: number) => layersOff.includes(layer);
  const toggle = (layer: number) => {
    setLayersOff(key, isOff(layer) ? layersOff.filter((other) => other !== layer) : [...layersOff, layer]);
    askAgain();
  };
  const allOn = layersOff.length === 0 && !isRestOff;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be laid out in a line
    <div className="layers" role="group" aria-labelledby={id}>
      <span id={id} className="small">
        Layers
      </span>
      {fit.layers.map((layer) => (
        <button
          key={layer}
          type="button"
          className="layer"
          aria-pressed={!isOff(layer)}
          aria-label={`Layer ${layer}`}
          onClick={() => toggle(layer)}
        >
          {layer}
        </button>
      ))}
      {fit.rest.length > 0 && (
        <button
          type="button"
          className="layer"
          aria-pressed={!isRestOff}
          aria-label={`Outside the layers: ${fit.rest.join(", ")}`}
          onClick={() => {
            setRestOff(key, !isRestOff);
            askAgain();
          }}
        >
          {fit.rest.map((name) => name.split(".").at(-1)).join(", ")}
        </button>
      )}
      <Button
        size="1"
        variant="ghost"
        color="gray"
        onClick={() => {
          setLayersOff(key, allOn ? fit.layers : []);
          setRestOff(key, allOn && fit.rest.length > 0);
          askAgain();
        }}
      >
        {allOn ? "all off" : "all on"}
      </Button>
    </div>
  );
}
