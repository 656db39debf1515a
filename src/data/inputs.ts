import { DataError } from "../base/errors.ts";
import { optimizerSteps, type StepPlan, stepsPerEpoch, totalSteps } from "./steps.ts";
import { type TokenisedRow, targetCount } from "./tokenisedRow.ts";

/** How many keys a query sees, itself included; undefined for all of its row up to itself. */
export type Window = number | undefined;

/** Who sees whom. Pairs [first, end) of flat token indices: pair i is at 2i and 2i + 1. */
export interface AttentionRanges {
  readonly window: Window;
  /** [tokens, 2]: the keys that a query sees. */
  readonly keyRange: Uint32Array;
  /** [tokens, 2]: the queries that see a key; the mirror of keyRange. */
  readonly queryRange: Uint32Array;
}

/**
 * The engine's inputs of one micro-batch: rows laid end to end, without padding. Arrays are as long as the capacity;
 * what lies beyond `tokens` or `targets` is of an earlier micro-batch and means nothing.
 */
export interface MicroBatchInputs {
  tokens: number;
  targets: number;
  /** [tokens] */
  readonly ids: Uint32Array;
  /** [tokens]: counted from 0 in each row. */
  readonly positions: Uint32Array;
  /** [tokens]: which row of the optimizer step, counted over its micro-batches. */
  readonly rowInStep: Uint32Array;
  /** One for each distinct window, in the order asked for. */
  readonly ranges: readonly AttentionRanges[];
  /** [targets]: the token whose hidden state predicts the target. */
  readonly targetRow: Uint32Array;
  /** [targets]: the token to predict. */
  readonly targetId: Uint32Array;
  /** [tokens]: which target a token predicts, or −1: the inverse of targetRow. */
  readonly targetOfToken: Int32Array;
}

export interface Capacity {
  readonly tokens: number;
  readonly targets: number;
}

/** The distinct windows of a model's layers, in order of first appearance. */
export function distinctWindows(perLayer: readonly Window[]): Window[] {
  return [...new Set(perLayer)];
}

export function allocateInputs(capacity: Capacity, windows: readonly Window[]): MicroBatchInputs {
  const { tokens, targets } = capacity;
  return {
    tokens: 0,
    targets: 0,
    ids: new Uint32Array(tokens),
    positions: new Uint32Array(tokens),
    rowInStep: new Uint32Array(tokens),
    ranges: windows.map((window) => ({
      window,
      keyRange: new Uint32Array(2 * tokens),
      queryRange: new Uint32Array(2 * tokens),
    })),
    targetRow: new Uint32Array(targets),
    targetId: new Uint32Array(targets),
    targetOfToken: new Int32Array(tokens),
  };
}

/** How many of a row's tokens the model reads: those before its last target. What comes after predicts nothing. */
export function tokensRead({ ids, trained }: TokenisedRow): number {
  return trained ? Math.max(0, trained.lastIndexOf(1)) : ids.length - 1;
}

/** A micro-batch cut between rows where it has more tokens than a plan holds; the objective is the same. */
export function cutToCapacity(rows: readonly TokenisedRow[], { tokens }: Capacity): TokenisedRow[][] {
  const parts: TokenisedRow[][] = [];
  let held = 0;
  for (const row of rows) {
    if (parts.length === 0 || held + tokensRead(row) > tokens) {
      parts.push([]);
      held = 0;
    }
    parts.at(-1)!.push(row);
    held += tokensRead(row);
  }
  return parts;
}

/** Writes a micro-batch into `into`; `firstRow` is how many rows of the optimizer step came before it. */
export function layOut(
  rows: readonly TokenisedRow[],
  into: MicroBatchInputs,
  firstRow = 0,
): MicroBatchInputs {
  let token = 0;
  let target = 0;
  for (let row = 0; row < rows.length; row++) {
    const { ids, trained } = rows[row]!;
    const read = tokensRead(rows[row]!);
    const start = token;
    const end = start + read;
    if (end > into.ids.length || target + targetCount(rows[row]!) > into.targetId.length) {
      const found = `A micro-batch holds more than the ${into.ids.length} tokens or ${into.targetId.length} targets`;
      throw new DataError("capacity", `${found} that the run was planned for.`);
    }
    into.ids.set(ids.subarray(0, read), start);
    for (let position = 0; position < read; position++, token++) {
      into.positions[token] = position;
      into.rowInStep[token] = firstRow + row;
      const predicts = (trained?.[position + 1] ?? 1) === 1;
      into.targetOfToken[token] = predicts ? target : -1;
      if (!predicts) continue;
      into.targetRow[target] = token;
      into.targetId[target] = ids[position + 1]!;
      target++;
    }
    for (const ranges of into.ranges) writeRanges(ranges, start, end);
  }
  into.tokens = token;
  into.targets = target;
  return into;
}

/** Query i sees key j where i − window < j ≤ i, in the same row. */
function writeRanges({ window, keyRange, queryRange }: AttentionRanges, start: number, end: number): void {
  const reach = window ?? end - start;
  for (let token = start; token < end; token++) {
    keyRange[2 * token] = Math.max(start, token - reach + 1);
    keyRange[2 * token + 1] = token + 1;
    queryRange[2 * token] = token;
    queryRange[2 * token + 1] = Math.min(end, token + reach);
  }
}

/** Shuffled epochs differ; beyond this many visits of a row the bound is taken instead of the exact figure. */
const EXACT_ROW_VISITS = 2_000_000;

/**
 * The most tokens and targets that a micro-batch of this run holds: exact where the run is short enough to walk,
 * otherwise the sum over the longest units that a micro-batch can hold. A unit is a row, or a pack of rows.
 */
export function capacity(units: readonly (readonly TokenisedRow[])[], plan: StepPlan): Capacity {
  const perEpoch = stepsPerEpoch(units.length, plan);
  const steps = totalSteps(units.length, plan);
  const sizes = units.map((rows) => {
    return { tokens: sumOf(rows.map(tokensRead)), targets: sumOf(rows.map(targetCount)) };
  });
  // In file order every epoch is the same.
  const toWalk = plan.shuffle ? steps : Math.min(steps, perEpoch);
  if ((toWalk / perEpoch) * units.length > EXACT_ROW_VISITS) {
    const { per_device_train_batch_size: most } = plan;
    const largest = (key: keyof Capacity): number =>
      sumOf(
        sizes
          .map((size) => size[key])
          .sort((a, b) => b - a)
          .slice(0, most),
      );
    return { tokens: largest("tokens"), targets: largest("targets") };
  }
  let tokens = 0;
  let targets = 0;
  for (const { step, microBatches } of optimizerSteps(sizes, plan)) {
    if (step > toWalk) break;
    for (const batch of microBatches) {
      tokens = Math.max(tokens, sumOf(batch.map((size) => size.tokens)));
      targets = Math.max(targets, sumOf(batch.map((size) => size.targets)));
    }
  }
  return { tokens, targets };
}

function sumOf(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0);
}
