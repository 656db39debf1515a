import { RE2JS } from "re2js";
import { ConfigError } from "../base/errors.ts";
import { show } from "../base/json.ts";

/**
 * Python's `re`, as far as it can be matched in linear time.
 *
 * PEFT's patterns are Python regular expressions written by the user or by whoever made an adapter. Both
 * Python's and JavaScript's engines backtrack, so `(.*)*_proj` can hang a page; RE2 cannot. The two languages
 * agree on nearly everything that names modules; where they differ the pattern is translated or refused,
 * never given another meaning.
 */
export interface PythonPattern {
  /** re.fullmatch */
  fullMatch(text: string): boolean;
  /** re.match: anchored at the start only. */
  match(text: string): boolean;
  /** The named group of re.match, or undefined where there is no match. */
  matchGroup(text: string, group: string): string | undefined;
}

/** RE2 goes through a text with a step for each character of the pattern at most, its counted repetitions written out. */
const LONGEST_PATTERN = 2000;
/** What the patterns of one key may come to. */
const LONGEST_PATTERNS = 20_000;

const UNSUPPORTED_GROUPS: readonly [start: string, called: string][] = [
  ["(?=", "a lookahead"],
  ["(?!", "a negative lookahead"],
  ["(?<=", "a lookbehind"],
  ["(?<!", "a negative lookbehind"],
  ["(?>", "an atomic group"],
  ["(?P=", "a back-reference"],
  ["(?P>", "a recursion"],
  ["(?(", "a conditional group"],
  ["(?#", "a comment"],
];

/** Compiles a Python pattern. `path` says in errors where it came from (`lora.target_modules`). */
export function compilePythonPattern(source: string, path: string): PythonPattern {
  return compilePythonPatterns([source], path)[0]!;
}

/** Compiles the patterns of one key, which may together be as long as ten of the longest. */
export function compilePythonPatterns(sources: readonly string[], path: string): PythonPattern[] {
  let total = 0;
  return sources.map((source) => {
    const translated = source.length > LONGEST_PATTERN ? source : translate(source, path);
    const length = Math.max(source.length, lengthWrittenOut(translated));
    total += length;
    if (length > LONGEST_PATTERN) {
      throw refusal(
        path,
        source,
        `it is ${length} characters long, its repetitions written out, at most ${LONGEST_PATTERN} are allowed`,
      );
    }
    if (total > LONGEST_PATTERNS) {
      throw refusal(
        path,
        source,
        `the patterns there are longer together than the ${LONGEST_PATTERNS} characters allowed`,
      );
    }
    return asPattern(compile(translated, source, path));
  });
}

/** Of a pattern in RE2's spelling: `(ab){3}` counts as `(ababab)`. */
function lengthWrittenOut(translated: string): number {
  // Of what stands in each open group, and of what a repetition would repeat.
  const groups = [0];
  let last = 0;
  const add = (length: number) => {
    groups[groups.length - 1]! += length;
  };
  for (const [token, least, most] of translated.matchAll(/\\.|\[(?:\\.|[^\]\\])*\]|\{(\d*),?(\d*)\}|./gs)) {
    if (token === "(") groups.push(0);
    else if (token === ")" && groups.length > 1) {
      last = groups.pop()!;
      add(last);
    } else if (least !== undefined) {
      const repeats = Math.max(Number(least), Number(most));
      add(last * (repeats - 1));
      last *= repeats;
    } else {
      last = 1;
      add(1);
    }
  }
  return groups.reduce((sum, length) => sum + length, 0);
}

function compile(translated: string, source: string, path: string): RE2JS {
  try {
    return RE2JS.compile(translated);
  } catch (thrown) {
    throw refusal(path, source, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

function asPattern(compiled: RE2JS): PythonPattern {
  return {
    fullMatch: (text) => compiled.matches(text),
    match: (text) => compiled.matcher(text).lookingAt(),
    matchGroup: (text, group) => {
      const matcher = compiled.matcher(text);
      return matcher.lookingAt() ? (matcher.group(group) ?? undefined) : undefined;
    },
  };
}

/** A name as a pattern that matches it alone. */
export function escapePattern(name: string): string {
  return name.replace(/[\\^$.|?*+()[\]{}]/g, "\\$&");
}

function refusal(path: string, source: string, reason: string): ConfigError {
  return new ConfigError(
    "bad-pattern",
    `${path}: the pattern ${show(source)} cannot be used: ${reason}.`,
    "Patterns are matched by RE2, which cannot hang; write it without look-around and back-references, or list the module names.",
  );
}

/** Python's spelling to RE2's. Walks the pattern once, since `[…]` and `\\` change what characters mean. */
function translate(source: string, path: string): string {
  let translated = "";
  let inClass = false;
  for (let i = 0; i < source.length; i++) {
    const char = source[i]!;
    const rest = source.slice(i, i + 4);
    if (char === "\\") {
      translated += escapeSequence(source[i + 1], inClass, source, path);
      i++;
    } else if (inClass) {
      // Python reads "[:" inside a class as two characters, RE2 as the start of a POSIX class.
      if (char === "[") translated += "\\[";
      else {
        translated += char;
        if (char === "]") inClass = false;
      }
    } else if (char === "[") {
      inClass = true;
      translated += char;
      if (source[i + 1] === "^") translated += source[++i];
      // A bracket that comes first in a class stands for itself.
      if (source[i + 1] === "]") {
        translated += "\\]";
        i++;
      }
    } else if (char === "(") {
      const unsupported = UNSUPPORTED_GROUPS.find(([start]) => rest.startsWith(start));
      if (unsupported) throw refusal(path, source, `it holds ${unsupported[1]}, ${unsupported[0]}…)`);
      // RE2 also takes (?<name>…); Python does not.
      if (rest.startsWith("(?<")) throw refusal(path, source, "a named group is written (?P<name>…)");
      translated += char;
    } else if (char === "{" && /^\{,\d+\}/.test(source.slice(i))) {
      translated += "{0";
    } else if ("*+?}".includes(char) && source[i + 1] === "+") {
      throw refusal(path, source, `it holds a possessive quantifier, ${char}+`);
    } else {
      translated += char;
    }
  }
  return translated;
}

/** The characters that may follow a backslash in both languages with one meaning. */
const SHARED_ESCAPES = new Set("dDwWsSbBAnrtfvax");

function escapeSequence(next: string | undefined, inClass: boolean, source: string, path: string): string {
  if (next === undefined) throw refusal(path, source, "it ends in a backslash");
  if (next === "Z" && !inClass) return "\\z";
  if (/[1-9]/.test(next))
    throw refusal(path, source, `it holds a back-reference or an octal escape, \\${next}`);
  if (/[A-Za-z0-9]/.test(next) && !SHARED_ESCAPES.has(next)) {
    throw refusal(path, source, `\\${next} does not mean the same in Python and in RE2`);
  }
  // In a Python class \b is a backspace; no module name holds one.
  if (next === "b" && inClass) return "\\x08";
  // Python escapes any other character to itself; RE2 only punctuation.
  return /[\w\x21-\x7e]/.test(next) ? `\\${next}` : next;
}
