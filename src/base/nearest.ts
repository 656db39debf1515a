/** Levenshtein distance: the fewest insertions, deletions and replacements that turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}

// A stranger's key may be megabytes long; the distance is quadratic.
const LONGEST_COMPARED = 100;

/** The known name that is closest to `found`, for "did you mean …": one that holds it, where there is one. Ties go to the first. */
export function nearestName(found: string, known: Iterable<string>): string | undefined {
  const compared = found.slice(0, LONGEST_COMPARED).toLowerCase();
  const names = [...known];
  const holding = names.filter((name) => name.toLowerCase().includes(compared));
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const name of holding.length > 0 ? holding : names) {
    const distance = editDistance(compared, name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}
