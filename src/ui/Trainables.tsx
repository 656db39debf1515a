import type { RunSummary } from "../worker/api.ts";
import { count, shortNumber } from "./format.ts";

/** Every tensor that trains, and how fast. */
export function Trainables({ summary: { trainable, groups } }: { summary: RunSummary }) {
  return (
    <details>
      <summary>
        All {count(trainable.length)} tensors that train
        {groups.length > 1 && `, in ${groups.length} groups`}
      </summary>
      <div className="scroll">
        <table aria-label="Tensors that train">
          <thead>
            <tr>
              <th scope="col">Tensor</th>
              <th scope="col">Shape</th>
              <th scope="col">Learning rate</th>
              <th scope="col">Weight decay</th>
              <th scope="col">By</th>
            </tr>
          </thead>
          <tbody>
            {trainable.map(({ key, shape, group }) => {
              const { by, lr, weight_decay } = groups[group]!;
              return (
                <tr key={key}>
                  <th scope="row">{key}</th>
                  <td>{shape.join(" × ")}</td>
                  <td>{shortNumber(lr)}</td>
                  <td>{shortNumber(weight_decay)}</td>
                  <td>{by ?? "—"}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </details>
  );
}
