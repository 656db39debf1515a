/** Numbers drawn by chance, the same for the same seed: the linear congruential generator of Numerical Recipes. */

/** Numbers in [0, 1). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Whole numbers from 0 to below what is asked for. */
export function wholeNumber(seed: number): (below: number) => number {
  const next = uniform(seed);
  return (below) => Math.floor(next() * below);
}
