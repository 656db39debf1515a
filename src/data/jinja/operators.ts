/** What Python's operators, subscripts and attributes do with the values of a chat template. */
import { Arguments } from "./arguments.ts";
import { contains } from "./filters.ts";
import type { Limits } from "./limits.ts";
import { percent, TEXT_METHODS } from "./text.ts";
import {
  Attributes,
  type Callable,
  compare,
  equal,
  escapeHtml,
  Float,
  hasSurrogates,
  Markup,
  numberOf,
  plain,
  print,
  TemplateError,
  Tuple,
  typeName,
  type Value,
} from "./values.ts";

export function binary(operator: string, left: Value, right: Value, limits: Limits): Value {
  if (left instanceof Markup || right instanceof Markup) {
    if (operator === "+") return addMarkup(left, right, limits);
    return binary(operator, plain(left), plain(right), limits);
  }
  switch (operator) {
    case "==":
      return equal(left, right);
    case "!=":
      return !equal(left, right);
    case "in":
      return contains(right, left);
    case "not in":
      return !contains(right, left);
    case "~": {
      const [a, b] = [print(left), print(right)];
      limits.text(a.length + b.length);
      return a + b;
    }
    case "<":
      return compare(left, right) < 0;
    case "<=":
      return compare(left, right) <= 0;
    case ">":
      return compare(left, right) > 0;
    case ">=":
      return compare(left, right) >= 0;
    default:
      return arithmetic(operator, left, right, limits);
  }
}

function addMarkup(left: Value, right: Value, limits: Limits): Markup {
  const [a, b] = [left, right].map((side) => {
    if (side instanceof Markup) return side.text;
    if (typeof side === "string") return escapeHtml(side);
    throw new TemplateError(`unsupported operand type(s) for +: 'Markup' and '${typeName(side)}'`);
  }) as [string, string];
  limits.text(a.length + b.length);
  return new Markup(a + b);
}

function arithmetic(operator: string, left: Value, right: Value, limits: Limits): Value {
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== undefined && b !== undefined) {
    const result = calculate(operator, a, b);
    const whole = !(
      left instanceof Float ||
      right instanceof Float ||
      operator === "/" ||
      (operator === "**" && b < 0)
    );
    return whole ? result : new Float(result);
  }
  if (operator === "+" && typeof left === "string" && typeof right === "string") {
    limits.text(left.length + right.length);
    return left + right;
  }
  if (operator === "+" && Array.isArray(left) && Array.isArray(right)) {
    limits.list(left.length + right.length);
    return left.concat(right);
  }
  if (operator === "*") {
    const [list, times] = typeof right === "number" ? [left, right] : [right, left];
    if (typeof times === "number") {
      if (typeof list === "string") return repeatText(list, times, limits);
      if (Array.isArray(list)) return repeatList(list, times, limits);
    }
  }
  if (operator === "%" && typeof left === "string") {
    return percent(left, right instanceof Tuple ? right : [right]);
  }
  throw new TemplateError(
    `unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`,
  );
}

function calculate(operator: string, a: number, b: number): number {
  if (b === 0 && ["/", "//", "%"].includes(operator)) throw new TemplateError("division by zero");
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return a / b;
    case "//":
      return Math.floor(a / b);
    case "%":
      return a - b * Math.floor(a / b);
    case "**":
      return a ** b;
    default:
      throw new TemplateError(`there is no operator "${operator}" here`);
  }
}

function repeatText(text: string, times: number, limits: Limits): string {
  const count = Math.max(0, times);
  limits.text(text.length * count);
  return text.repeat(count);
}

function repeatList(list: readonly Value[], times: number, limits: Limits): Value[] {
  const count = Math.max(0, times);
  limits.list(list.length * count);
  return Array.from({ length: count }, () => list).flat();
}

/** `object.name`: a method comes before a key, as in Python. */
export function attribute(owner: Value, name: string, limits: Limits): Value {
  const object = plain(owner);
  return methodOf(object, name, limits) ?? entryOf(object, name);
}

/** `object[key]`: a key comes before a method, as Jinja has it. */
export function subscript(owner: Value, key: Value, limits: Limits): Value {
  const object = plain(owner);
  if (typeof key === "string") return entryOf(object, key) ?? methodOf(object, key, limits);
  if (object instanceof Map) return object.get(key);
  const at = typeof key === "boolean" ? Number(key) : key;
  if (typeof at !== "number") return undefined;
  if (Array.isArray(object)) return object.at(at);
  if (typeof object !== "string") return undefined;
  return hasSurrogates(object) ? Array.from(object).at(at) : object.at(at);
}

function entryOf(object: Value, key: string): Value {
  if (object instanceof Map) return object.get(key);
  return object instanceof Attributes ? object.entries.get(key) : undefined;
}

const DICT_METHODS = ["copy", "get", "items", "keys", "values"];
const LIST_METHODS = ["copy", "count", "index"];
/** Python's sandbox keeps a template from changing what it was given. */
const FORBIDDEN: Readonly<Record<string, readonly string[]>> = {
  dict: ["clear", "pop", "popitem", "setdefault", "update"],
  list: ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"],
};

function methodOf(object: Value, name: string, limits: Limits): Callable | undefined {
  if (typeof object === "string") {
    const method = Object.hasOwn(TEXT_METHODS, name) ? TEXT_METHODS[name]! : undefined;
    return method && ((args, named) => limits.check(method(object, new Arguments(args, named), limits)));
  }
  const type = typeName(object);
  if (FORBIDDEN[type]?.includes(name)) {
    return () => {
      throw new TemplateError(`access to attribute '${name}' of '${type}' object is unsafe.`);
    };
  }
  if (object instanceof Map && DICT_METHODS.includes(name)) {
    return ([key, otherwise = null]) => {
      if (name === "get") return object.has(key) ? object.get(key) : otherwise;
      if (name === "copy") return new Map(object);
      if (name === "items") return [...object].map(([entry, value]): Value => Tuple.of(entry, value));
      return [...(name === "keys" ? object.keys() : object.values())];
    };
  }
  if (Array.isArray(object) && LIST_METHODS.includes(name)) {
    return ([wanted]) => {
      if (name === "copy") return [...object];
      if (name === "count") return object.filter((item) => equal(item, wanted)).length;
      const at = object.findIndex((item) => equal(item, wanted));
      if (at < 0) throw new TemplateError("the value is not in the list");
      return at;
    };
  }
  return undefined;
}

/** `object[start:stop:step]`, with Python's rules for what lies outside. */
export function slice(owner: Value, start: Value, stop: Value, step: Value): Value {
  const object = plain(owner);
  if (typeof object === "string") {
    const chars = hasSurrogates(object) ? Array.from(object) : object.split("");
    return (slice(chars, start, stop, step) as string[]).join("");
  }
  if (!Array.isArray(object)) {
    if (object === undefined) return [];
    throw new TemplateError(`'${typeName(object)}' object cannot be sliced`);
  }
  const by = bound(step, 1);
  if (by === 0) throw new TemplateError("slice step cannot be zero");
  const { length } = object;
  const place = (value: Value, otherwise: number): number => {
    const given = bound(value, Number.NaN);
    if (Number.isNaN(given)) return otherwise;
    const [low, high] = by > 0 ? [0, length] : [-1, length - 1];
    return Math.min(Math.max(given < 0 ? given + length : given, low), high);
  };
  const from = place(start, by > 0 ? 0 : length - 1);
  const to = place(stop, by > 0 ? length : -1);
  const taken: Value[] = [];
  for (let i = from; by > 0 ? i < to : i > to; i += by) taken.push(object[i]);
  return taken;
}

function bound(value: Value, otherwise: number): number {
  if (value === undefined || value === null) return otherwise;
  const number = numberOf(value);
  if (number === undefined || value instanceof Float) {
    throw new TemplateError("slice indices must be integers or None");
  }
  return number;
}
