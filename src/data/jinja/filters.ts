/** Jinja's filters and tests, as far as chat templates use them, with Transformers' own tojson. */
import { Arguments } from "./arguments.ts";
import type { Limits } from "./limits.ts";
import { capitalize, percent, replaceAll, splitLines, strip } from "./text.ts";
import {
  Attributes,
  compare,
  type Dict,
  equal,
  escapeHtml,
  Float,
  items,
  type JsonStyle,
  jsonOf,
  Lazy,
  lengthOf,
  Markup,
  type Named,
  numberOf,
  plain,
  print,
  TemplateError,
  Tuple,
  truth,
  typeName,
  type Value,
} from "./values.ts";

type Filter = (value: Value, args: Arguments, limits: Limits) => Value;
type Test = (value: Value, other: Value) => boolean;

/** Reads `item.a.b` or `item.0`, as the `attribute` of many filters is written. */
function attributeOf(item: Value, path: Value): Value {
  let value = item;
  for (const part of print(path).split(".")) {
    if (value instanceof Map) value = value.get(part);
    else if (value instanceof Attributes) value = value.entries.get(part);
    else if (Array.isArray(value) && /^\d+$/.test(part)) value = value[Number(part)];
    else return undefined;
  }
  return value;
}

const folded = (value: Value, caseSensitive: Value): Value =>
  typeof value === "string" && !truth(caseSensitive) ? value.toLowerCase() : value;

function sorted(list: readonly Value[], by: (item: Value) => Value, reverse: Value): Value[] {
  const sign = truth(reverse) ? -1 : 1;
  return [...list].sort((a, b) => sign * compare(by(a), by(b)));
}

function sort(value: Value, args: Arguments): Value {
  const attribute = args.get(2, "attribute");
  const by = (item: Value) =>
    folded(
      attribute === undefined || attribute === null ? item : attributeOf(item, attribute),
      args.get(1, "case_sensitive"),
    );
  return sorted(items(value), by, args.get(0, "reverse"));
}

function dictsort(value: Value, args: Arguments): Value {
  if (!(value instanceof Map)) throw new TemplateError(`dictsort wants a dict, not ${typeName(value)}`);
  const place = args.get(1, "by", "key") === "value" ? 1 : 0;
  const pairs = [...value].map(([key, entry]): Value => Tuple.of(key, entry));
  const by = (pair: Value) => folded((pair as Value[])[place], args.get(0, "case_sensitive"));
  return sorted(pairs, by, args.get(2, "reverse"));
}

function unique(value: Value, args: Arguments): Value {
  const kept: Value[] = [];
  for (const item of items(value)) {
    const key = folded(item, args.get(0, "case_sensitive"));
    if (!kept.some((other) => equal(folded(other, args.get(0, "case_sensitive")), key))) kept.push(item);
  }
  return kept;
}

function extreme(value: Value, args: Arguments, sign: number): Value {
  const attribute = args.get(1, "attribute");
  const by = (item: Value) =>
    folded(attribute === undefined ? item : attributeOf(item, attribute), args.get(0, "case_sensitive"));
  return items(value).reduce((best, item) => (sign * compare(by(item), by(best)) > 0 ? item : best));
}

/** `map` and `select` take None, and whatever else is false, for nothing at all. */
const listed = (value: Value): readonly Value[] => (truth(value) ? items(value) : []);

function map(value: Value, args: Arguments, limits: Limits): Value {
  const attribute = args.get(Infinity, "attribute");
  if (attribute !== undefined) {
    const otherwise = args.get(Infinity, "default");
    return Lazy.from(listed(value), (item) => attributeOf(item, attribute) ?? otherwise);
  }
  const name = args.text(0, "filter");
  const rest = args.from(1);
  return Lazy.from(listed(value), (item) => applyFilter(name, item, rest, limits));
}

/** select, reject, selectattr, rejectattr. */
function chosen(value: Value, args: Arguments, wanted: boolean, byAttribute: boolean): Value {
  const [attribute, at] = byAttribute ? [args.get(0, "attribute"), 1] : [undefined, 0];
  const test = args.get(at, "test");
  const kept = listed(value).filter((item) => {
    const subject = byAttribute ? attributeOf(item, attribute) : item;
    const holds =
      test === undefined ? truth(subject) : applyTest(print(test), subject, args.get(at + 1, "other"));
    return holds === wanted;
  });
  return Lazy.from(kept);
}

function tojson(value: Value, args: Arguments, limits: Limits): string {
  const given = args.get(1, "indent");
  const width = numberOf(given);
  if (width !== undefined) limits.text(width);
  const separators = args.get(2, "separators");
  const [item, key] = Array.isArray(separators) ? separators.map(print) : [];
  const indent =
    typeof given === "string" ? given : width === undefined ? undefined : " ".repeat(Math.max(0, width));
  const style: JsonStyle = {
    indent,
    itemSeparator: item ?? (indent === undefined ? ", " : ","),
    keySeparator: key ?? ": ",
    ensureAscii: truth(args.get(0, "ensure_ascii")),
    sortKeys: truth(args.get(3, "sort_keys")),
  };
  return jsonOf(value, style);
}

function indent(value: Value, args: Arguments, limits: Limits): string {
  const width = args.get(0, "width", 4);
  if (typeof width === "number") limits.text(width);
  const before = typeof width === "string" ? width : " ".repeat(Number(width));
  const lines = splitLines(`${print(value)}\n`);
  limits.text(lines.length * before.length);
  const blank = truth(args.get(2, "blank"));
  const first = truth(args.get(1, "first"));
  return lines
    .map((line, i) => ((i > 0 && (blank || line !== "")) || (i === 0 && first) ? before + line : line))
    .join("\n");
}

function join(value: Value, args: Arguments, limits: Limits): string {
  const separator = print(args.get(0, "d", ""));
  const attribute = args.get(1, "attribute");
  const parts: string[] = [];
  let length = 0;
  for (const item of items(value)) {
    parts.push(print(attribute === undefined ? item : attributeOf(item, attribute)));
    length += parts.at(-1)!.length + separator.length;
    limits.text(length - separator.length);
  }
  return parts.join(separator);
}

function integer(value: Value, args: Arguments): Value {
  const number =
    typeof value === "string" ? Number(strip(value, undefined, "both") || Number.NaN) : numberOf(value);
  return number === undefined || !Number.isFinite(number) ? args.get(0, "default", 0) : Math.trunc(number);
}

function float(value: Value, args: Arguments): Value {
  const number =
    typeof value === "string" ? Number(strip(value, undefined, "both") || Number.NaN) : numberOf(value);
  return number === undefined || Number.isNaN(number)
    ? args.get(0, "default", new Float(0))
    : new Float(number);
}

function absolute(value: Value): Value {
  const number = numberOf(value);
  if (number === undefined) throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
  return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
}

function sum(value: Value, args: Arguments): Value {
  const attribute = args.get(0, "attribute");
  const parts = items(value).map((item) => (attribute === undefined ? item : attributeOf(item, attribute)));
  const total = [...parts, args.get(1, "start", 0)].reduce<number>((so, part) => {
    const number = numberOf(part);
    if (number === undefined) throw new TemplateError(`'${typeName(part)}' cannot be added up`);
    return so + number;
  }, 0);
  return parts.some((part) => part instanceof Float) ? new Float(total) : total;
}

function dictOf(value: Value): Dict {
  if (value instanceof Map) return value;
  if (value === undefined) return new Map();
  throw new TemplateError("Can only get item pairs from a mapping.");
}

const reversed = (value: Value): Value =>
  typeof value === "string" ? Array.from(value).reverse().join("") : [...items(value)].reverse();
const otherwise: Filter = (value, args) =>
  value === undefined || (truth(args.get(1, "boolean")) && !truth(value))
    ? args.get(0, "default_value", "")
    : value;
const length: Filter = (value) => lengthOf(value);
const escaped: Filter = (value) => escapeHtml(print(value));

const FILTERS: Readonly<Record<string, Filter>> = {
  abs: absolute,
  attr: (value, args) => attributeOf(value, args.get(0, "name")),
  capitalize: (value) => capitalize(print(value)),
  count: length,
  d: otherwise,
  default: otherwise,
  dictsort,
  e: escaped,
  escape: escaped,
  first: (value) => items(value)[0],
  float,
  format: (value, args) => percent(print(value), args.from(0).args),
  indent,
  int: integer,
  items: (value) => [...dictOf(value)].map(([key, entry]): Value => Tuple.of(key, entry)),
  join,
  last: (value) => items(value).at(-1),
  length,
  list: (value) => [...items(value)],
  lower: (value) => print(value).toLowerCase(),
  map,
  max: (value, args) => extreme(value, args, 1),
  min: (value, args) => extreme(value, args, -1),
  reject: (value, args) => chosen(value, args, false, false),
  rejectattr: (value, args) => chosen(value, args, false, true),
  replace: (value, args, limits) =>
    replaceAll(print(value), args.text(0, "old"), args.text(1, "new"), args.integer(2, "count", -1), limits),
  reverse: reversed,
  safe: (value) => new Markup(print(value)),
  select: (value, args) => chosen(value, args, true, false),
  selectattr: (value, args) => chosen(value, args, true, true),
  sort,
  string: (value) => print(value),
  sum,
  title: (value) => print(value).replace(/[^-\s({[<]+/gu, (word) => capitalize(word)),
  tojson,
  trim: (value, args) => strip(print(value), args.optionalText(0, "chars"), "both"),
  unique,
  upper: (value) => print(value).toUpperCase(),
};

const isNumber = (value: Value): boolean => typeof value === "number" || value instanceof Float;
const sequence = (value: Value): boolean =>
  typeof value === "string" || Array.isArray(value) || value instanceof Map || value === undefined;
const same: Test = (value, other) => equal(value, other);
const below: Test = (value, other) => compare(value, other) < 0;
const above: Test = (value, other) => compare(value, other) > 0;
const atMost: Test = (value, other) => compare(value, other) <= 0;
const atLeast: Test = (value, other) => compare(value, other) >= 0;

function remainder(value: Value, by: number): number {
  const number = numberOf(value);
  if (number === undefined) throw new TemplateError(`a ${typeName(value)} cannot be divided`);
  return ((number % by) + by) % by;
}

const TESTS: Readonly<Record<string, Test>> = {
  "!=": (value, other) => !equal(value, other),
  "<": below,
  "<=": atMost,
  "==": same,
  ">": above,
  ">=": atLeast,
  boolean: (value) => typeof value === "boolean",
  callable: (value) => typeof value === "function",
  defined: (value) => value !== undefined,
  divisibleby: (value, other) => remainder(value, numberOf(other) ?? Number.NaN) === 0,
  eq: same,
  equalto: same,
  even: (value) => remainder(value, 2) === 0,
  false: (value) => value === false,
  float: (value) => value instanceof Float,
  ge: atLeast,
  greaterthan: above,
  gt: above,
  in: (value, other) => contains(other, value),
  integer: (value) => typeof value === "number",
  iterable: sequence,
  le: atMost,
  lessthan: below,
  lower: (value) =>
    print(value) !== print(value).toUpperCase() && print(value) === print(value).toLowerCase(),
  lt: below,
  mapping: (value) => value instanceof Map,
  ne: (value, other) => !equal(value, other),
  none: (value) => value === null,
  number: (value) => isNumber(value) || typeof value === "boolean",
  odd: (value) => remainder(value, 2) === 1,
  sameas: (value, other) => value === other,
  sequence,
  string: (value) => typeof value === "string",
  true: (value) => value === true,
  undefined: (value) => value === undefined,
  upper: (value) =>
    print(value) !== print(value).toLowerCase() && print(value) === print(value).toUpperCase(),
};

/** Python's `in`. */
export function contains(whole: Value, part: Value): boolean {
  if (typeof whole === "string") {
    if (typeof part === "string") return whole.includes(part);
    throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(part)}`);
  }
  if (whole instanceof Map) return whole.has(part);
  if (Array.isArray(whole)) return whole.some((item) => equal(item, part));
  if (whole === undefined) return false;
  throw new TemplateError(`argument of type '${typeName(whole)}' is not iterable`);
}

export function applyFilter(
  name: string,
  value: Value,
  { args, named }: { args: readonly Value[]; named: Named },
  limits: Limits,
): Value {
  const filter = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined;
  if (!filter) throw new TemplateError(`there is no filter "${name}" here`);
  return limits.check(filter(plain(value), new Arguments(args, named), limits));
}

export function applyTest(name: string, value: Value, other?: Value): boolean {
  const test = Object.hasOwn(TESTS, name) ? TESTS[name] : undefined;
  if (!test) throw new TemplateError(`there is no test "${name}" here`);
  return test(plain(value), plain(other));
}
