/** A row ready to train on. Every token but the first is a target, unless `trained` says which are. */
export interface TokenisedRow {
  readonly ids: Uint32Array;
  /** 1 for each token that is learnt; the first never is. */
  readonly trained?: Uint8Array;
  /** Where it stands in the file, counted from 1. */
  readonly line: number;
}

/** How many tokens of a row are targets. */
export function targetCount({ ids, trained }: TokenisedRow): number {
  if (!trained) return ids.length - 1;
  let count = 0;
  for (let i = 1; i < trained.length; i++) count += trained[i]!;
  return count;
}
