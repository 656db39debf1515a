/** What people are told of a run before its first step. */
import type { TokenisedRows } from "../data/cutRows.ts";
import { type GroupRates, type TrainableTensor, trainableTensors } from "./parameterGroups.ts";
import type { PlannedRun } from "./planRun.ts";
import type { MemoryEstimate } from "./trainer.ts";

export interface SessionSummary {
  readonly modelType: string;
  /** Of the base model. */
  readonly parameters: number;
  /** Everything that trains. */
  readonly trainable: readonly TrainableTensor[];
  /** Learning rates and weight decays; each trainable tensor is in one group. */
  readonly groups: readonly GroupRates[];
  readonly trainableCount: number;
  readonly tokenised: TokenisedRows;
  readonly steps: number;
  /** In bytes; known before any of it is taken. */
  readonly memory: MemoryEstimate;
  /** Rows that are held out, where there are any. */
  readonly heldOut: TokenisedRows | undefined;
  readonly warnings: readonly string[];
}

/** `warnings` are those of the adapter that was loaded. */
export function summarise(
  { adapted, trainer, watch, audit, tokens }: PlannedRun,
  warnings: readonly string[] = [],
): SessionSummary {
  const { model, selection } = adapted;
  const { modelType, dropouts } = model.config;
  const off = `The base model's own dropouts are off: ${dropouts.join(", ")}.`;
  const { rows: tokenised, heldOut } = tokens;
  return {
    modelType,
    parameters: model.parameterCount(),
    trainable: trainableTensors(selection, trainer.groups),
    groups: trainer.groups.map(({ by, lr, weight_decay }) => ({ by, lr, weight_decay })),
    trainableCount: adapted.layout.elements(),
    tokenised,
    heldOut,
    steps: trainer.steps,
    memory: withBytes({ ...trainer.memory, ...adapted.bytes() }, watch.bytes(), audit.bytes()),
    warnings: [
      ...tokenised.warnings,
      ...warnings,
      ...selection.warnings,
      ...(dropouts.length > 0 ? [off] : []),
    ],
  };
}

function withBytes(
  memory: MemoryEstimate,
  ...parts: readonly Partial<Record<keyof MemoryEstimate, number>>[]
): MemoryEstimate {
  const sum = { ...memory };
  for (const part of parts)
    for (const [purpose, bytes] of Object.entries(part)) sum[purpose as keyof MemoryEstimate] += bytes;
  return sum;
}
