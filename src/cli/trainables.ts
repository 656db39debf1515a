/** What trains, and what the first steps have moved, as the command tells it: equal tensors of several layers on one line. */
import { runsOf } from "../base/runs.ts";
import type { AuditedTensor, AuditReport } from "../train/reports.ts";
import type { SessionSummary } from "../train/sessionSummary.ts";

type Trained = Pick<SessionSummary, "trainable" | "groups">;

export function trainableLines({ trainable, groups }: Trained): string[] {
  return groups.flatMap(({ by, lr, weight_decay }, group) => {
    const keys = trainable.filter((tensor) => tensor.group === group);
    const lines = condensed(keys.map(({ key, shape }) => `${withoutWrappers(key)} [${shape.join(", ")}]`));
    const chosen = by === null ? "" : `, by train.${by}`;
    return [
      `  group    lr ${lr}, weight decay ${weight_decay}${chosen}`,
      ...lines.map((line) => `             ${line}`),
    ];
  });
}

function withoutWrappers(key: string): string {
  return key.replace(/^base_model\.model\./, "");
}

/** What moved and what did not; then every fault. */
export function auditLines({ step, audit }: AuditReport): string[] {
  const { tensors, frozen } = audit;
  const moved = tensors.filter(({ change }) => change > 0);
  const still = tensors.filter(({ change }) => change === 0);
  const lines = [
    `audit      after step ${step}: ${moved.length} of ${tensors.length} tensors moved; ` +
      `${frozen.tensors - frozen.changed.length} of the base's ${frozen.tensors} on the device are as they were`,
    ...[...new Set(still.map(({ because }) => because))].flatMap((because) =>
      because === null
        ? []
        : named(
            "  still    ",
            still.filter((one) => one.because === because),
            because,
          ),
    ),
    ...named(
      "  STUCK    ",
      tensors.filter(({ verdict }) => verdict === "stuck"),
      "should have moved",
    ),
    ...named(
      "  STRAYED  ",
      tensors.filter(({ verdict }) => verdict === "strayed"),
      "should not have moved",
    ),
    ...condensed(frozen.changed).map((name) => `  STRAYED  ${name}: frozen, and should not have moved`),
  ];
  return lines;
}

function named(label: string, tensors: readonly AuditedTensor[], what: string): string[] {
  return condensed(tensors.map(({ tensor }) => withoutWrappers(tensor))).map(
    (name) => `${label}${name}: ${what}`,
  );
}

const LAYER = /\.(\d+)\./;

/** Names that differ by a layer's number alone, as one: `24 × model.layers.[0–23].mlp.up_proj.lora_A.weight`. */
function condensed(names: readonly string[]): string[] {
  const alike = new Map<string, { readonly name: string; readonly layers: number[] }>();
  for (const name of names) {
    const pattern = name.replace(LAYER, ".*.");
    const found = alike.get(pattern) ?? { name, layers: [] };
    found.layers.push(Number(LAYER.exec(name)?.[1]));
    alike.set(pattern, found);
  }
  return [...alike.values()].map(({ name, layers }) =>
    layers.length === 1
      ? name
      : `${layers.length} × ${name.replace(LAYER, `.[${runsOf(layers).join(", ")}].`)}`,
  );
}
