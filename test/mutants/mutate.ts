/**
 * Every small break of a WGSL text, by kind. A break is one that a tired author could have written: it keeps the
 * text's form, and usually compiles.
 */
import { blankComments, closing, functionsOf } from "./functions.ts";

export const kinds = ["operator", "bound", "index", "scale", "statement", "condition"] as const;
export type Kind = (typeof kinds)[number];

export interface Mutant {
  /** Path under shaders/ without the ending. */
  readonly file: string;
  /** The function it lies in; empty for a constant of the module. */
  readonly fn: string;
  readonly kind: Kind;
  readonly line: number;
  /** The lines concerned, before and after, on one line each. */
  readonly before: string;
  readonly after: string;
  readonly text: string;
}

/** `text[start, end)` becomes `by`. */
interface Edit {
  readonly kind: Kind;
  readonly start: number;
  readonly end: number;
  readonly by: string;
}

const operators: Readonly<Record<string, string>> = {
  "+": "-",
  "-": "+",
  "*": "+",
  "/": "*",
  "%": "/",
  "&": "|",
  "|": "&",
  "^": "|",
  "<<": ">>",
  ">>": "<<",
  "&&": "||",
  "||": "&&",
  "+=": "-=",
  "-=": "+=",
  "*=": "/=",
  "/=": "*=",
};
const bounds: Readonly<Record<string, string>> = {
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "==": "!=",
  "!=": "==",
};
const members: Readonly<Record<string, string>> = {
  x: "y",
  y: "x",
  z: "w",
  w: "z",
  a: "b",
  b: "a",
  aa: "ab",
  ab: "aa",
  ba: "bb",
  bb: "ba",
};

/** Matches of `pattern` in a function's body, with offsets of the whole text. */
function* matches(body: string, offset: number, pattern: RegExp) {
  for (const match of body.matchAll(pattern)) yield { match, at: offset + match.index };
}

/** Binary operators stand between blanks here; templates, signs and `->` do not. */
function* symbols(body: string, offset: number): Generator<Edit> {
  for (const { match, at } of matches(body, offset, /(?<=\s)([-+*/%&|^<>=!]+)(?=\s)/g)) {
    const symbol = match[1]!;
    const [kind, by] =
      symbol in bounds ? (["bound", bounds[symbol]] as const) : (["operator", operators[symbol]] as const);
    if (by) yield { kind, start: at, end: at + symbol.length, by };
  }
  for (const { at } of matches(body, offset, /(?<=[(,]\s*)-(?=\w)/g)) {
    yield { kind: "operator", start: at, end: at + 1, by: "" };
  }
  for (const { match, at } of matches(body, offset, /\b(min|max)(?=\()/g)) {
    yield { kind: "bound", start: at, end: at + 3, by: match[1] === "min" ? "max" : "min" };
  }
}

function* indices(code: string, body: string, offset: number): Generator<Edit> {
  for (const { at } of matches(body, offset, /(?<=\w)\[/g)) {
    const end = closing(code, at) - 1;
    const index = code.slice(at + 1, end);
    // A literal index is a scale's matter too; moved here it names the neighbour.
    if (/^\d+$/.test(index)) yield { kind: "index", start: at + 1, end, by: index === "0" ? "1" : "0" };
    else {
      const by = /[<>&|^]/.test(index) ? `(${index}) + 1u` : `${index} + 1u`;
      yield { kind: "index", start: at + 1, end, by };
    }
  }
  for (const { match, at } of matches(body, offset, /(?<=[\w\])]\.)(aa|ab|ba|bb|[xyzwab])\b/g)) {
    yield { kind: "index", start: at, end: at + match[0].length, by: members[match[0]]! };
  }
}

function* scales(code: string, body: string, offset: number): Generator<Edit> {
  const literal =
    /(?<![\w.[])(0x[0-9a-f]+p-?\d+f|0x[0-9a-f]+u?|\d+\.\d*(?:e[-+]?\d+)?|\d+u|\d+e[-+]?\d+)(?![\w.])/g;
  for (const { match, at } of matches(body, offset, literal)) {
    yield { kind: "scale", start: at, end: at + match[0].length, by: another(match[0]) };
  }
  // A factor left out: a name with its members, indices and arguments.
  for (const { at } of matches(body, offset, /(?<=[\w\])]) \* (?=[a-z])/g)) {
    let end = at + 3;
    for (;;) {
      const word = /^\.?\w+/.exec(code.slice(end))?.[0];
      if (word) end += word.length;
      else if (code[end] === "(" || code[end] === "[") end = closing(code, end);
      else break;
    }
    yield { kind: "scale", start: at, end, by: "" };
  }
}

/** A number near a literal's own, of its type. */
function another(literal: string): string {
  if (/p/.test(literal)) return literal.replace(/p(-?\d+)/, (_, power) => `p${Number(power) + 1}`);
  if (literal.startsWith("0x")) {
    return `0x${((Number.parseInt(literal, 16) ^ 1) >>> 0).toString(16)}${literal.endsWith("u") ? "u" : ""}`;
  }
  if (literal.endsWith("u")) return `${Number.parseInt(literal, 10) + 1}u`;
  const value = Number(literal);
  const other = value === 0 ? 1 : Number((1.1 * value).toPrecision(12));
  return /[.e]/.test(String(other)) ? String(other) : `${other}.0`;
}

function* statements(
  code: string,
  body: string,
  offset: number,
  bindings: ReadonlySet<string>,
): Generator<Edit> {
  const leading = /(?<=[{;}]\s*)(?:[a-zA-Z_][\w.]*(?:\[|\(| [-+*/]?= )|return;)/g;
  for (const { match, at } of matches(body, offset, leading)) {
    if (/^(workgroupBarrier|if|for|switch|while)\b/.test(match[0])) continue;
    const end = statementEnd(code, at);
    if (code[end - 1] !== ";") continue;
    const dropped = code.slice(at, end);
    // The pass still names its buffers: only what it computes may give the mutant away.
    const names = [...new Set(dropped.match(/(?<!\.)\b\w+/g))].filter((word) => bindings.has(word));
    yield { kind: "statement", start: at, end, by: names.map((name) => `_ = &${name};`).join(" ") };
  }
}

function statementEnd(code: string, start: number): number {
  for (let at = start; at < code.length; at++) {
    if (code[at] === ";") return at + 1;
    if (code[at] === "(" || code[at] === "[") at = closing(code, at) - 1;
    else if (code[at] === "{" || code[at] === "}") return at;
  }
  return code.length;
}

function* conditions(code: string, body: string, offset: number): Generator<Edit> {
  for (const { match, at } of matches(body, offset, /\bif (?=\()/g)) {
    const open = at + match[0].length;
    const end = closing(code, open);
    yield { kind: "condition", start: open, end, by: `(!${code.slice(open, end)})` };
  }
  for (const { match, at } of matches(body, offset, /\bselect(?=\()/g)) {
    const open = at + match[0].length;
    const parts = split(code.slice(open + 1, closing(code, open) - 1));
    if (parts.length !== 3) continue;
    const [no, yes, when] = parts as [string, string, string];
    const by = `(${yes.trim()}, ${no.trim()}, ${when.trim()})`;
    yield { kind: "condition", start: open, end: closing(code, open), by };
  }
}

/** Arguments, by the commas that stand in no bracket. */
function split(list: string): string[] {
  const parts = [""];
  for (let at = 0; at < list.length; at++) {
    const end = "([{".includes(list[at]!) ? closing(list, at) : at + 1;
    if (list[at] === ",") parts.push("");
    else parts[parts.length - 1] += list.slice(at, end);
    at = end - 1;
  }
  return parts;
}

function lineStart(text: string, at: number): number {
  return text.lastIndexOf("\n", at - 1) + 1;
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}

const oneLine = (text: string) => text.replace(/\s+/g, " ").trim();

/** All mutants of `shaders/<file>.wgsl`: those of the module's constants, then those of each function. */
export function mutantsOf(file: string, text: string): Mutant[] {
  const code = blankComments(text);
  const bindings = new Set(
    [...code.matchAll(/\bvar<\s*(?:uniform|storage)[^>]*>\s*(\w+)/g)].map(([, name]) => name!),
  );
  const found: Mutant[] = [];
  const make = (fn: string, { kind, start, end, by }: Edit): void => {
    const from = lineStart(text, start);
    const to = lineEnd(text, end);
    found.push({
      file,
      fn,
      kind,
      line: text.slice(0, start).split("\n").length,
      before: oneLine(text.slice(from, to)),
      after: oneLine(text.slice(from, start) + by + text.slice(end, to)),
      text: text.slice(0, start) + by + text.slice(end),
    });
  };
  for (const { index, 0: constant, 1: name } of code.matchAll(/^const (\w+) = [^;]*;/gm)) {
    // How many invocations a workgroup has is a choice: what follows from it follows it.
    if (new RegExp(`@workgroup_size\\([^)]*\\b${name}\\b`).test(code)) continue;
    for (const edit of scales(code, constant, index)) make("", edit);
  }
  for (const { name, start, end } of functionsOf(code)) {
    const body = code.slice(start, end);
    const edits = [
      ...symbols(body, start),
      ...indices(code, body, start),
      ...scales(code, body, start),
      ...statements(code, body, start, bindings),
      ...conditions(code, body, start),
    ];
    for (const edit of edits.sort((a, b) => a.start - b.start)) make(name, edit);
  }
  return found;
}
