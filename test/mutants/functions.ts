/** Where the functions of a WGSL text lie, and which of them an entry point reaches. */

export interface WgslFunction {
  readonly name: string;
  readonly entry: boolean;
  /** Offsets of the body, between its braces. */
  readonly start: number;
  readonly end: number;
}

/** Comments become blanks, so that every offset stays. */
export function blankComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (comment) => comment.replace(/[^\n]/g, " "));
}

/** The offset after the bracket that closes the one at `open`. */
export function closing(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if ("([{".includes(text[at]!)) depth++;
    else if (")]}".includes(text[at]!) && --depth === 0) return at + 1;
  }
  throw new Error(`The bracket at ${open} is never closed.`);
}

/** `code` is a text without comments. */
export function functionsOf(code: string): WgslFunction[] {
  const head = /((?:@\w+(?:\([^)]*\))?\s*)*)\bfn\s+(\w+)\s*\(/g;
  return [...code.matchAll(head)].map((match) => {
    const parameters = match.index + match[0].length - 1;
    const open = code.indexOf("{", closing(code, parameters));
    return {
      name: match[2]!,
      entry: match[1]!.includes("@compute"),
      start: open + 1,
      end: closing(code, open) - 1,
    };
  });
}

/**
 * For each function, the entry points of the same text that call it, directly or not; an entry reaches itself. What
 * lies outside all functions has the name "" and may be anybody's.
 */
export function entriesReaching(code: string): Map<string, Set<string>> {
  const functions = functionsOf(code);
  const words = new Map(
    functions.map(({ name, start, end }) => [name, new Set(code.slice(start, end).match(/\w+/g))]),
  );
  const reaching = new Map(functions.map(({ name }) => [name, new Set<string>()]));
  for (const { name: entry } of functions.filter(({ entry }) => entry)) {
    const reached = new Set([entry]);
    for (const at of reached) {
      reaching.get(at)!.add(entry);
      for (const word of words.get(at)!) if (words.has(word)) reached.add(word);
    }
  }
  reaching.set("", new Set(functions.filter(({ entry }) => entry).map(({ name }) => name)));
  return reaching;
}
