/** The values of a chat template, as Python knows them: how they print, compare, and become JSON. */
import type { Json } from "../../base/json.ts";

/** A number that Python would print with a point. Whole numbers are plain numbers. */
export class Float {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** A text that went through `safe`: what is added to it is escaped for HTML, also where no HTML is written. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A value without that mark: all but `+` treats the two alike. */
export function plain(value: Value): Value {
  return value instanceof Markup ? value.text : value;
}

const ESCAPES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>'"]/g, (char) => ESCAPES[char]!);
}

/** Something with attributes that is no dict: a namespace, the `loop` of a loop. */
export class Attributes {
  readonly entries: Map<string, Value>;
  /** A namespace's may be set. */
  readonly mutable: boolean;

  constructor(entries: Map<string, Value>, mutable: boolean) {
    this.entries = entries;
    this.mutable = mutable;
  }
}

/** A tuple, which prints with round brackets. */
export class Tuple extends Array<Value> {}

/** What `map` and `select` give in Python: it can be gone through, but not counted, and is never false. */
export class Lazy extends Array<Value> {}

export type Dict = Map<Value, Value>;
export type Named = ReadonlyMap<string, Value>;
export type Callable = (args: readonly Value[], named: Named) => Value;
/** `undefined` is Jinja's Undefined, `null` is None. */
export type Value =
  | undefined
  | null
  | boolean
  | number
  | string
  | Float
  | Markup
  | Attributes
  | Value[]
  | Dict
  | Callable;

/** A template that cannot go on: its own words, or what Python would have said. */
export class TemplateError extends Error {}

export function fromJson(json: Json): Value {
  if (typeof json === "number") return Number.isInteger(json) ? json : new Float(json);
  if (json === null || typeof json !== "object") return json;
  if (Array.isArray(json)) return json.map(fromJson);
  return new Map(Object.entries(json).map(([key, value]) => [key, fromJson(value)]));
}

export function typeName(value: Value): string {
  if (value === undefined) return "Undefined";
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (typeof value === "string") return "str";
  if (typeof value === "function") return "function";
  if (value instanceof Float) return "float";
  if (value instanceof Map) return "dict";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Lazy) return "generator";
  return Array.isArray(value) ? "list" : "object";
}

export function truth(value: Value): boolean {
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Markup) return value.text !== "";
  if (value instanceof Map) return value.size > 0;
  if (Array.isArray(value)) return value.length > 0 || value instanceof Lazy;
  return Boolean(value);
}

/** The number that Python takes a value for in arithmetic; undefined where it is none. */
export function numberOf(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return Number(value);
  return value instanceof Float ? value.value : undefined;
}

export function equal(a: Value, b: Value): boolean {
  if (a === b) return true;
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => equal(item, b[i]));
  }
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size && [...a].every(([key, value]) => b.has(key) && equal(value, b.get(key)));
  }
  return false;
}

/** Below, at or above 0, as Python orders the two. Throws where it would. */
export function compare(a: Value, b: Value): number {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a === "string" && typeof b === "string") return a < b ? -1 : Number(a > b);
  if (Array.isArray(a) && Array.isArray(b)) {
    const at = a.findIndex((item, i) => i >= b.length || !equal(item, b[i]));
    if (at < 0) return a.length - b.length;
    return at >= b.length ? 1 : compare(a[at], b[at]);
  }
  throw new TemplateError(`${typeName(a)} and ${typeName(b)} have no order`);
}

/** What a loop over a value goes through. */
export function items(value: Value): readonly Value[] {
  if (Array.isArray(value)) return value;
  if (typeof value === "string") return Array.from(value);
  if (value instanceof Map) return [...value.keys()];
  if (value === undefined) return [];
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

export function lengthOf(value: Value): number {
  if (typeof value === "string") return codePoints(value);
  if (value instanceof Map) return value.size;
  if (Array.isArray(value) && !(value instanceof Lazy)) return value.length;
  if (value === undefined) return 0;
  throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
}

export function hasSurrogates(text: string): boolean {
  return /[\ud800-\udfff]/.test(text);
}

function codePoints(text: string): number {
  if (!hasSurrogates(text)) return text.length;
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** What `{{ value }}` writes. */
export function print(value: Value): string {
  if (typeof value === "string") return value;
  if (value instanceof Markup) return value.text;
  return value === undefined ? "" : repr(value);
}

/** Python's repr(). */
export function repr(value: Value): string {
  if (value === null) return "None";
  if (value === undefined) return "Undefined";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return quoted(value);
  if (value instanceof Float) return floatRepr(value.value);
  if (value instanceof Tuple) {
    return `(${Array.from(value, repr).join(", ")}${value.length === 1 ? "," : ""})`;
  }
  if (Array.isArray(value) && !(value instanceof Lazy)) return `[${value.map(repr).join(", ")}]`;
  if (value instanceof Map) {
    return `{${[...value].map(([key, entry]) => `${repr(key)}: ${repr(entry)}`).join(", ")}}`;
  }
  throw new TemplateError(`a ${typeName(value)} cannot be written into the text`);
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escapes: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };
  const inner = text.replace(/[\p{C}\p{Z}\\'"]/gu, (char) => {
    if (char === " " || (char !== quote && (char === "'" || char === '"'))) return char;
    if (char === quote) return `\\${char}`;
    const code = char.codePointAt(0)!;
    const hex = (width: number) => code.toString(16).padStart(width, "0");
    return escapes[char] ?? (code < 256 ? `\\x${hex(2)}` : code < 65536 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
  });
  return quote + inner + quote;
}

/** The shortest text that reads back as the same number, in Python's form. */
export function floatRepr(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e16 || size < 1e-4)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

export interface JsonStyle {
  readonly indent: string | undefined;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly ensureAscii: boolean;
  readonly sortKeys: boolean;
}

/** Python's json.dumps(). */
export function jsonOf(value: Value, style: JsonStyle, depth = 0): string {
  if (value === null || typeof value === "boolean" || typeof value === "number") return String(value);
  if (typeof value === "string") return jsonText(value, style);
  if (value instanceof Markup) return jsonText(value.text, style);
  if (value instanceof Float) {
    const text = floatRepr(value.value);
    return { nan: "NaN", inf: "Infinity", "-inf": "-Infinity" }[text] ?? text;
  }
  if (Array.isArray(value) && !(value instanceof Lazy)) {
    return bracketed(
      "[]",
      value.map((item) => jsonOf(item, style, depth + 1)),
      style,
      depth,
    );
  }
  if (value instanceof Map) {
    const entries = [...value].map(([key, entry]) => [jsonKey(key), entry] as const);
    if (style.sortKeys) entries.sort(([a], [b]) => compare(a, b));
    const parts = entries.map(
      ([key, entry]) => jsonText(key, style) + style.keySeparator + jsonOf(entry, style, depth + 1),
    );
    return bracketed("{}", parts, style, depth);
  }
  throw new TemplateError(`Object of type ${typeName(value)} is not JSON serializable`);
}

function jsonKey(key: Value): string {
  if (typeof key === "string") return key;
  return key === null || typeof key === "boolean" ? String(key) : print(key);
}

function jsonText(text: string, { ensureAscii }: JsonStyle): string {
  const json = JSON.stringify(text);
  if (!ensureAscii) return json;
  return json.replace(/[\x7f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function bracketed(brackets: string, parts: readonly string[], style: JsonStyle, depth: number): string {
  const { indent, itemSeparator } = style;
  if (indent === undefined || parts.length === 0) {
    return brackets[0] + parts.join(itemSeparator) + brackets[1];
  }
  const outer = `\n${indent.repeat(depth)}`;
  return `${brackets[0]}${outer}${indent}${parts.join(itemSeparator + outer + indent)}${outer}${brackets[1]}`;
}
