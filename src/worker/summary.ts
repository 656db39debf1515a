/** What people are told of a run before its first step, as it crosses to the page. */

import type { TokenisedRows } from "../data/cutRows.ts";
import { KEPT_FAULTS } from "../data/faults.ts";
import { packRows } from "../data/pack.ts";
import type { ParsedRows } from "../data/rows.ts";
import { stepsPerEpoch } from "../data/steps.ts";
import type { TokenisedRow } from "../data/tokenisedRow.ts";
import type { TrainConfig } from "../train/fields.ts";
import type { Session } from "../train/session.ts";
import type { RowCounts, RunSummary } from "./api.ts";

export function summaryOf(
  { summary }: Session,
  [parsed, heldOut]: readonly ParsedRows[],
  train: TrainConfig,
): RunSummary {
  const { tokenised, heldOut: tokenisedOut, ...told } = summary;
  return {
    ...told,
    stepsPerEpoch: epochsOf(tokenised.rows, train),
    lengths: tokenised.lengths,
    rows: countsOf(tokenised, parsed),
    heldOut: tokenisedOut && countsOf(tokenisedOut, heldOut),
  };
}

function epochsOf(rows: readonly TokenisedRow[], train: TrainConfig): RunSummary["stepsPerEpoch"] {
  const packs = packRows(rows, train.per_device_train_batch_size * train.max_length);
  return {
    plain: stepsPerEpoch(rows.length, train),
    packed: stepsPerEpoch(packs.length, { ...train, per_device_train_batch_size: 1 }),
  };
}

/** A held-out share was read with the rows that are trained on, and counted there. */
function countsOf(tokenised: TokenisedRows, parsed: ParsedRows | undefined): RowCounts {
  const { rows, leftOut, faults, cut, tokens, targets } = tokenised;
  const { replacedSurrogates = 0 } = parsed ?? {};
  return {
    ...{ used: rows.length, leftOut, faults: faults.slice(0, KEPT_FAULTS) },
    ...{ cut, tokens, targets, replacedSurrogates },
  };
}
