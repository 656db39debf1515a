/** What trains, as the command lists it: by group, and equal tensors of several layers on one line. */
import type { SessionSummary } from "../train/session.ts";

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
