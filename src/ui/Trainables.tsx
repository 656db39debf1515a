import { Callout } from "@radix-ui/themes";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import type { AuditedTensor, RunSummary } from "../worker/api.ts";
import { auditWords } from "./auditWords.ts";
import { DottedName } from "./DottedName.tsx";
import { count, percent, shortNumber } from "./format.ts";
import type { PageState } from "./pageState.ts";
import { Scroll } from "./Scroll.tsx";

interface TrainablesProps {
  readonly store: StoreApi<PageState>;
  readonly summary: RunSummary;
}

/** Every tensor that trains, how fast, and how far the first step took it. */
export function Trainables({ store, summary: { trainable, groups } }: TrainablesProps) {
  const report = useStore(store, (state) => state.audit);
  const audited = new Map(report?.audit.tensors.map((one) => [one.tensor, one]));
  const words = report && auditWords(report);
  const hasSources = groups.some(({ by }) => by !== null);
  return (
    <>
      <p className={words ? (words.isFine ? "right" : "mistake") : "quiet"}>
        {words?.verdict ?? "After the first step it is checked what moved, and that nothing else did."}
      </p>
      {words?.notes.map((note) => (
        <p key={note} className="quiet small">
          {note}
        </p>
      ))}
      <details>
        <summary>
          All {count(trainable.length)} tensors that train
          {groups.length > 1 && `, in ${groups.length} groups`}
        </summary>
        <Scroll label="Tensors">
          <table className="trainables" aria-label="Tensors that train">
            <thead>
              <tr>
                <th scope="col">Tensor</th>
                <th scope="col">Shape</th>
                <th scope="col">Learning rate</th>
                <th scope="col">Weight decay</th>
                {hasSources && <th scope="col">Rates set by</th>}
                <th scope="col">Moved</th>
              </tr>
            </thead>
            <tbody>
              {trainable.map(({ key, shape, group }) => {
                const { by, lr, weight_decay } = groups[group]!;
                return (
                  <tr key={key}>
                    <th scope="row" title={key}>
                      <DottedName name={key.replace(/^base_model\.model\./, "")} />
                    </th>
                    <td>{shape.join(" × ")}</td>
                    <td>{shortNumber(lr)}</td>
                    <td>{shortNumber(weight_decay)}</td>
                    {hasSources && <td>{by ?? "—"}</td>}
                    <Moved audited={audited.get(key)} />
                  </tr>
                );
              })}
            </tbody>
          </table>
        </Scroll>
      </details>
    </>
  );
}

/** By how much of its norm; of a tensor that began at zero, by how much. */
function Moved({ audited }: { audited: AuditedTensor | undefined }) {
  if (!audited) return <td>—</td>;
  const { change, norm, because, verdict } = audited;
  const words = change === 0 ? "no" : norm > 0 ? percent(change, norm) : shortNumber(change);
  return (
    <td className={verdict === "ok" ? "" : "mistake"} title={because ?? undefined}>
      {words}
    </td>
  );
}

/** Stands above everything else of a run where the first step moved what it should not, or did not move what it should. */
export function AuditProblem({ store }: { store: StoreApi<PageState> }) {
  const report = useStore(store, (state) => state.audit);
  const words = report && auditWords(report);
  if (!words || words.isFine) return null;
  return (
    <Callout.Root role="alert" color="red" className="callout">
      <strong>The first step did not do what it should</strong>
      {words.faults.map((fault) => (
        <p key={fault}>{fault}</p>
      ))}
      <p className="remedy">
        Do not trust this run. It is a defect in Graft: please report it with the run's settings.
      </p>
    </Callout.Root>
  );
}
