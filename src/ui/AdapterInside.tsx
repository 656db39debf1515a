import type { StoreApi } from "zustand/vanilla";
import type { JsonObject } from "../base/json.ts";
import type { OpenedAdapterFacts } from "../worker/api.ts";
import { type AdapterState, type HeldAdapter, isUsable } from "./adapterStore.ts";
import { DottedName } from "./DottedName.tsx";
import { percent, shortNumber } from "./format.ts";
import { Problem } from "./Problem.tsx";
import { Scroll } from "./Scroll.tsx";
import { beyondDefaults, writeValue } from "./settings.ts";

interface InsideProps {
  readonly adapters: StoreApi<AdapterState>;
  readonly held: HeldAdapter;
  readonly facts: OpenedAdapterFacts;
}

/** What the files hold, for whoever wants to look. */
export function AdapterInside({ adapters, held, facts }: InsideProps) {
  const { askChanges } = adapters.getState();
  return (
    <div className="inside">
      {isUsable(held) && (
        <details onToggle={({ currentTarget }) => currentTarget.open && void askChanges(held.key)}>
          <summary>How far it takes each weight</summary>
          <Changes held={held} />
        </details>
      )}
      <details>
        <summary>Tensors</summary>
        <Scroll label="Tensors">
          <table className="tensors">
            <thead>
              <tr>
                <th scope="col">Tensor</th>
                <th scope="col">Shape</th>
                <th scope="col">Type</th>
              </tr>
            </thead>
            <tbody>
              {facts.tensors.map(({ name, shape, dtype }) => (
                <tr key={name}>
                  <th scope="row">
                    <DottedName name={name} />
                  </th>
                  <td>{shape.join(" × ")}</td>
                  <td>{dtype}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      </details>
      <details>
        <summary>Settings</summary>
        <Settings config={facts.config} />
      </details>
    </div>
  );
}

/** Most of a config is what PEFT takes anyway: what differs comes first. */
function Settings({ config }: { config: JsonObject }) {
  return (
    <>
      <Scroll label="Settings">
        <table className="stated" aria-label="Settings beyond PEFT's defaults">
          <tbody>
            {beyondDefaults(config).map(([key, value]) => (
              <tr key={key}>
                <th scope="row" className="mono">
                  {key}
                </th>
                <td>{writeValue(value)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <details>
        <summary>The whole adapter_config.json</summary>
        <Scroll label="The whole adapter_config.json">
          <pre className="mono">{JSON.stringify(config, null, 2)}</pre>
        </Scroll>
      </details>
    </>
  );
}

function Changes({ held: { changes } }: { held: HeldAdapter }) {
  if (!changes) return <p className="quiet small">Reading the weights…</p>;
  if (!changes.ok) return <Problem title="That could not be measured" failure={changes} />;
  const share = ({ change, base }: { change: number; base: number }) => (base > 0 ? change / base : 0);
  const most = Math.max(...changes.value.map(share), Number.MIN_VALUE);
  return (
    <Scroll label="Weights">
      <p className="quiet">
        ‖ΔW‖ is the size of what it adds to a weight at 100 %, ‖W‖ the size of the weight itself: the root of
        the sum of their squares.
      </p>
      <table className="changes" aria-label="How far it takes each weight">
        <thead>
          <tr>
            <th scope="col">Weight</th>
            <th scope="col">‖ΔW‖</th>
            <th scope="col">‖ΔW‖ / ‖W‖</th>
          </tr>
        </thead>
        <tbody>
          {changes.value.map((one) => (
            <tr key={one.name}>
              <th scope="row">
                <DottedName name={one.name} />
              </th>
              <td>{shortNumber(one.change)}</td>
              <td>
                {one.base > 0 ? percent(one.change, one.base) : "—"}
                <span className="share-bar" style={{ width: `${(100 * share(one)) / most}%` }} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
