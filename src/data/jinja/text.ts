/** The methods of Python's str that chat templates call. */
import type { Arguments } from "./arguments.ts";
import type { Limits } from "./limits.ts";
import { hasSurrogates, items, print, repr, TemplateError, Tuple, typeName, type Value } from "./values.ts";

type Method = (text: string, args: Arguments, limits: Limits) => Value;

const SPACES = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000";

/** What Python counts as white space; JavaScript's trim() knows another set. */
export function isSpace(char: string): boolean {
  return SPACES.includes(char) || (char >= "\u2000" && char <= "\u200a");
}

export function strip(text: string, chars: string | undefined, sides: "both" | "left" | "right"): string {
  const goes = chars === undefined ? isSpace : (char: string) => chars.includes(char);
  let [start, end] = [0, text.length];
  if (sides !== "right") while (start < end && goes(text[start]!)) start++;
  if (sides !== "left") while (end > start && goes(text[end - 1]!)) end--;
  return text.slice(start, end);
}

const words = (text: string): string[] => {
  const found: string[] = [];
  let from = -1;
  for (let i = 0; i <= text.length; i++) {
    const space = i === text.length || isSpace(text[i]!);
    if (!space && from < 0) from = i;
    if (space && from >= 0) {
      found.push(text.slice(from, i));
      from = -1;
    }
  }
  return found;
};

function split(text: string, separator: string | undefined, most: number, limits: Limits): string[] {
  if (separator === "") throw new TemplateError("empty separator");
  if (separator === undefined) {
    if (most < 0) return words(text);
    const parts: string[] = [];
    let rest = strip(text, undefined, "left");
    while (rest && parts.length < most) {
      const end = Array.from(rest).findIndex(isSpace);
      if (end < 0) break;
      const part = Array.from(rest).slice(0, end).join("");
      parts.push(part);
      rest = strip(rest.slice(part.length), undefined, "left");
    }
    return rest ? [...parts, rest] : parts;
  }
  const parts = text.split(separator);
  limits.list(parts.length);
  return most < 0 || parts.length <= most
    ? parts
    : [...parts.slice(0, most), parts.slice(most).join(separator)];
}

function splitFromRight(text: string, separator: string | undefined, most: number, limits: Limits): string[] {
  if (most < 0) return split(text, separator, most, limits);
  if (separator === undefined) throw new TemplateError("rsplit() is known here with a separator only");
  const parts = split(text, separator, -1, limits);
  if (parts.length <= most + 1) return parts;
  const at = parts.length - most;
  return [parts.slice(0, at).join(separator), ...parts.slice(at)];
}

const LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029";

/** Python's splitlines(): an end of line at the end begins no further line. */
export function splitLines(text: string): string[] {
  const lines: string[] = [];
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (!LINE_ENDS.includes(text[i]!)) continue;
    lines.push(text.slice(from, i));
    if (text[i] === "\r" && text[i + 1] === "\n") i++;
    from = i + 1;
  }
  return from < text.length ? [...lines, text.slice(from)] : lines;
}

export function replaceAll(text: string, from: string, to: string, most: number, limits: Limits): string {
  const parts = from === "" ? ["", ...Array.from(text), ""] : text.split(from);
  const count = most < 0 ? parts.length - 1 : Math.min(most, parts.length - 1);
  limits.text(text.length + count * Math.max(0, to.length - from.length));
  return (
    parts.slice(0, count + 1).join(to) +
    parts
      .slice(count + 1)
      .map((part) => from + part)
      .join("")
  );
}

export function capitalize(text: string): string {
  const [first = ""] = text;
  return first.toUpperCase() + text.slice(first.length).toLowerCase();
}

function matches(text: string, wanted: Value, test: (text: string, part: string) => boolean): boolean {
  const parts = Array.isArray(wanted) ? wanted : [wanted];
  return parts.some((part) => {
    if (typeof part === "string") return test(text, part);
    throw new TemplateError(`startswith and endswith want str, not ${typeName(part)}`);
  });
}

/** Counted in characters, as Python does. */
function find(text: string, part: string, from: "left" | "right"): number {
  const at = from === "left" ? text.indexOf(part) : text.lastIndexOf(part);
  return at > 0 && hasSurrogates(text) ? Array.from(text.slice(0, at)).length : at;
}

function partition(text: string, separator: string, from: "left" | "right"): Value {
  const at = from === "left" ? text.indexOf(separator) : text.lastIndexOf(separator);
  if (at >= 0) return Tuple.of(text.slice(0, at), separator, text.slice(at + separator.length));
  return from === "left" ? Tuple.of(text, "", "") : Tuple.of("", "", text);
}

const all =
  (pattern: RegExp): Method =>
  (text) =>
    pattern.test(text);

/** `"{} {name}".format(…)`, without conversions; of the formats those for decimals. */
function format(text: string, args: Arguments): string {
  let next = 0;
  return text.replace(
    /\{\{|\}\}|\{([^{}:!]*)(?::([^{}]*))?\}/g,
    (whole, name: string | undefined, spec = "") => {
      if (name === undefined) return whole[0]!;
      const value = /^\d*$/.test(name)
        ? args.get(name === "" ? next++ : Number(name), name)
        : args.get(Infinity, name);
      return formatted(value, spec);
    },
  );
}

function formatted(value: Value, spec: string): string {
  const digits = /^\.(\d+)f$/.exec(spec)?.[1];
  if (digits !== undefined) return Number(print(value)).toFixed(Number(digits));
  if (spec === "" || spec === "s" || spec === "d") return print(value);
  throw new TemplateError(`the format "${spec}" is not known here`);
}

/** `"%s" % values`, as far as %s, %d, %r and %.2f. */
export function percent(text: string, values: readonly Value[]): string {
  let next = 0;
  return text.replace(
    /%([-+ 0#\d]*)(\.\d+)?(.?)/gs,
    (whole, flags: string, digits: string | undefined, kind: string) => {
      if (whole === "%%") return "%";
      if (flags !== "") throw new TemplateError(`the format "${whole}" is not known here`);
      if (next >= values.length) throw new TemplateError("not enough arguments for format string");
      const value = values[next++];
      if (kind === "r") return repr(value);
      if (kind === "f") return formatted(value, `${digits ?? ".6"}f`);
      if (kind === "s" || kind === "d" || kind === "i") return print(value);
      throw new TemplateError(`the format "${whole}" is not known here`);
    },
  );
}

function padded(text: string, args: Arguments, limits: Limits, side: "start" | "end"): string {
  const width = args.integer(0, "width", 0);
  limits.text(width);
  const fill = args.optionalText(1, "fillchar") ?? " ";
  return side === "start" ? text.padStart(width, fill) : text.padEnd(width, fill);
}

export const TEXT_METHODS: Readonly<Record<string, Method>> = {
  capitalize: (text) => capitalize(text),
  count: (text, args) => text.split(args.text(0, "sub")).length - 1,
  endswith: (text, args) => matches(text, args.get(0, "suffix"), (whole, part) => whole.endsWith(part)),
  find: (text, args) => find(text, args.text(0, "sub"), "left"),
  format: (text, args) => format(text, args),
  index: (text, args) => {
    const at = find(text, args.text(0, "sub"), "left");
    if (at < 0) throw new TemplateError("substring not found");
    return at;
  },
  isalnum: all(/^[\p{L}\p{N}]+$/u),
  isalpha: all(/^\p{L}+$/u),
  isdigit: all(/^\p{Nd}+$/u),
  islower: (text) => text !== text.toUpperCase() && text === text.toLowerCase(),
  isnumeric: all(/^\p{N}+$/u),
  isspace: (text) => text !== "" && strip(text, undefined, "left") === "",
  isupper: (text) => text !== text.toLowerCase() && text === text.toUpperCase(),
  join: (text, args, limits) => joined(args.get(0, "iterable"), text, limits),
  ljust: (text, args, limits) => padded(text, args, limits, "end"),
  lower: (text) => text.toLowerCase(),
  lstrip: (text, args) => strip(text, args.optionalText(0, "chars"), "left"),
  partition: (text, args) => partition(text, args.text(0, "sep"), "left"),
  removeprefix: (text, args) => {
    const prefix = args.text(0, "prefix");
    return text.startsWith(prefix) ? text.slice(prefix.length) : text;
  },
  removesuffix: (text, args) => {
    const suffix = args.text(0, "suffix");
    return suffix && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
  },
  replace: (text, args, limits) =>
    replaceAll(text, args.text(0, "old"), args.text(1, "new"), args.integer(2, "count", -1), limits),
  rfind: (text, args) => find(text, args.text(0, "sub"), "right"),
  rjust: (text, args, limits) => padded(text, args, limits, "start"),
  rpartition: (text, args) => partition(text, args.text(0, "sep"), "right"),
  rsplit: (text, args, limits) =>
    splitFromRight(text, args.optionalText(0, "sep"), args.integer(1, "maxsplit", -1), limits),
  rstrip: (text, args) => strip(text, args.optionalText(0, "chars"), "right"),
  split: (text, args, limits) =>
    split(text, args.optionalText(0, "sep"), args.integer(1, "maxsplit", -1), limits),
  splitlines: (text) => splitLines(text),
  startswith: (text, args) => matches(text, args.get(0, "prefix"), (whole, part) => whole.startsWith(part)),
  strip: (text, args) => strip(text, args.optionalText(0, "chars"), "both"),
  title: (text) => text.toLowerCase().replace(/\p{L}+/gu, (word) => capitalize(word)),
  upper: (text) => text.toUpperCase(),
};

/** The entries one after the other; throws where one is no text, as str.join does. */
function joined(list: Value, separator: string, limits: Limits): string {
  const parts = items(list);
  let length = 0;
  for (const part of parts) {
    if (typeof part !== "string") throw new TemplateError(`expected str instance, ${typeName(part)} found`);
    length += part.length + separator.length;
    limits.text(length - separator.length);
  }
  return parts.join(separator);
}
