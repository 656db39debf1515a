/** Names of modules by their endings, which is how PEFT reads the entries of a list. */

/** `name` is the entry, or ends in it after a dot: how PEFT reads an entry of a list. */
export function endsInEntry(name: string, entry: string): boolean {
  return name === entry || name.endsWith(`.${entry}`);
}

/** Whether a name ends in one of the entries. */
export function endingMatcher(entries: Iterable<string>): (name: string) => boolean {
  const listed = new Set(entries);
  // Every ending that starts after a dot is looked up: the cost does not grow with the list.
  return (name) => {
    for (let at = 0; ; ) {
      if (listed.has(name.slice(at))) return true;
      const dot = name.indexOf(".", at);
      if (dot === -1) return false;
      at = dot + 1;
    }
  };
}

/** PEFT condenses lists from this length on (MIN_TARGET_MODULES_FOR_OPTIMIZATION). */
export const CONDENSED_FROM = 20;

/**
 * A long list of targets becomes the few endings that tell them from all other modules, as in PEFT. It matters
 * beyond size: an entry that is a whole name is exempt from layers_to_transform, and after condensing few entries are.
 */
export function condenseTargets(targets: readonly string[], moduleNames: readonly string[]): string[] {
  const distinct = [...new Set(targets)];
  if (distinct.length < CONDENSED_FROM) return distinct;
  const isTarget = endingMatcher(distinct);
  const required = fewestEndings(
    distinct,
    moduleNames.filter((name) => !isTarget(name)),
  );
  return required.length > 0 && required.length < distinct.length ? required : distinct;
}

/** The few endings that tell `targets` from `others`, as PEFT's `_find_minimal_target_modules` finds them. */
export function fewestEndings(targets: readonly string[], others: readonly string[]): string[] {
  const otherEndings = new Set(["", ...others.flatMap(endings)]);
  const required = new Set<string>();
  for (const target of sortedByEndings(targets)) {
    const choices = endings(target);
    // The whole name is no ending after a dot.
    if (choices.slice(0, -1).some((ending) => required.has(ending))) continue;
    const ending = choices.find((choice) => !required.has(choice) && !otherEndings.has(choice));
    if (ending !== undefined) required.add(ending);
  }
  return [...required];
}

/** `a.b.c` → `c`, `b.c`, `a.b.c`. */
function endings(name: string): string[] {
  const starts = [...name.matchAll(/\./g)].map(({ index }) => index + 1);
  return [0, ...starts].reverse().map((start) => name.slice(start));
}

/** Python's order of lists of strings. */
function sortedByEndings(names: readonly string[]): string[] {
  const compare = (a: readonly string[], b: readonly string[]): number => {
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1;
    }
    return a.length - b.length;
  };
  return names
    .map((name) => ({ name, endings: endings(name) }))
    .sort((a, b) => compare(a.endings, b.endings))
    .map(({ name }) => name);
}
