/** What trains, and what the first steps have moved, as the command tells it: equal tensors of several layers on one line. */
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

/** Names that differ by a layer's number alone, as one: `24 × model.layers.*.mlp.up_proj.lora_A.weight`. */
export function condensed(names: readonly string[]): string[] {
  const alike = new Map<string, string[]>();
  for (const name of names) {
    const pattern = name.replace(/\.\d+\./, ".*.");
    alike.set(pattern, [...(alike.get(pattern) ?? []), name]);
  }
  return [...alike].map(([pattern, found]) =>
    found.length === 1 ? found[0]! : `${found.length} × ${pattern}`,
  );
}
