/** Which mutants a run tries: the same for the same seed, and of every kind that a function's text allows. */
import { philox } from "../../src/base/random.ts";
import { blankComments, functionsOf } from "./functions.ts";
import { kinds, type Mutant } from "./mutate.ts";

function shuffled<T>(items: readonly T[], seed: number, stream: number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = philox([seed, stream], [i, 0, 0, 0])[0]! % (i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** At most `count` of `mutants`, taken from each kind in turn. */
function spread(mutants: readonly Mutant[], count: number, seed: number, stream: number): Mutant[] {
  const piles = kinds.map((kind, i) =>
    shuffled(
      mutants.filter((mutant) => mutant.kind === kind),
      seed,
      8 * stream + i,
    ),
  );
  const chosen: Mutant[] = [];
  while (chosen.length < count && piles.some((pile) => pile.length > 0)) {
    for (const pile of piles) {
      const mutant = chosen.length < count ? pile.pop() : undefined;
      if (mutant) chosen.push(mutant);
    }
  }
  return chosen;
}

export interface Counts {
  /** For each entry point. */
  readonly entry: number;
  /** For each function that entry points call, and for the module's constants. */
  readonly part: number;
}

/** Of all mutants of one file, those to try. */
export function choose(mutants: readonly Mutant[], text: string, counts: Counts, seed: number): Mutant[] {
  const functions = [{ name: "", entry: false }, ...functionsOf(blankComments(text))];
  return functions.flatMap(({ name, entry }, i) =>
    spread(
      mutants.filter(({ fn }) => fn === name),
      entry ? counts.entry : counts.part,
      seed,
      i,
    ),
  );
}
