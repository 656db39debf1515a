/** What Python does with values where @huggingface/jinja does something else. */
import { Environment, type Interpreter } from "@huggingface/jinja";

/** A value of the library's. Its kind is in `type`: None and Undefined both hold `undefined`. */
export type Value = ReturnType<Interpreter["evaluate"]>;

/** A template that cannot go on: its own words, or what the library, or Python, would have said. */
export class TemplateError extends Error {}

const converter = new Environment();

/** The library's value for a plain one; a function is called with plain values. */
export function toValue(plain: unknown): Value {
  converter.variables.clear();
  return converter.set("value", plain);
}

/** str(value). The library writes nothing for None, `true` for True, and JSON for lists and dicts. */
export function printed(value: Value): string {
  switch (value.type) {
    case "StringValue":
      return value.value as string;
    case "UndefinedValue":
      return "";
    case "NullValue":
      return "None";
    case "BooleanValue":
      return value.value ? "True" : "False";
    case "IntegerValue":
    case "FloatValue":
      if (!hasExponent(value)) return value.toString();
      throw new TemplateError(`the number ${value.value} is not written here`);
    default:
      throw new TemplateError(`${named(value)} is not written here, but for what tojson makes of it`);
  }
}

const NAMES: Readonly<Record<string, string>> = {
  ArrayValue: "a list",
  TupleValue: "a tuple",
  ObjectValue: "a dict",
  NamespaceValue: "a namespace",
  FunctionValue: "a function",
  IntegerValue: "a number",
  FloatValue: "a number",
  BooleanValue: "True or False",
  NullValue: "None",
};

/** As an error message calls a value. */
export function named({ type }: Value): string {
  return NAMES[type] ?? type;
}

/** Python writes such a number with an exponent, or with one of another form. */
function hasExponent({ value }: Value): boolean {
  const size = Math.abs(value as number);
  return size !== 0 && (size < 1e-4 || size >= 1e16);
}

/** Whether json.dumps() writes a number in it in another form than the library does. */
export function holdsOddFloat(value: Value): boolean {
  if (value.type === "FloatValue") return hasExponent(value) || Number.isInteger(value.value);
  if (Array.isArray(value.value)) return value.value.some(holdsOddFloat);
  return value.value instanceof Map && [...value.value.values()].some(holdsOddFloat);
}

/** a == b. The library compares as JavaScript does: lists never, None and Undefined always, 1 and "1" too. */
export function equal(a: Value, b: Value): boolean {
  if (a.type === "NullValue" || b.type === "NullValue") return a.type === b.type;
  const [x, y] = [a.value, b.value].map((plain) => (typeof plain === "boolean" ? Number(plain) : plain));
  if (Array.isArray(x) && Array.isArray(y)) {
    return x.length === y.length && x.every((item, i) => equal(item, y[i]!));
  }
  if (x instanceof Map && y instanceof Map) {
    return x.size === y.size && [...x].every(([key, item]) => y.has(key) && equal(item, y.get(key)!));
  }
  return x === y;
}

export type Side = "left" | "right" | "both";

const WHITE_SPACE = new Set(
  "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a" +
    "\u2028\u2029\u202f\u205f\u3000",
);

/** str.strip(chars): `chars` is a set of characters. The library's takes white space whatever it is given. */
export function stripped(text: string, chars: unknown, side: Side): string {
  const set = typeof chars === "string" ? new Set(chars) : WHITE_SPACE;
  let [from, to] = [0, text.length];
  if (side !== "right") {
    for (const char of text) {
      if (!set.has(char)) break;
      from += char.length;
    }
  }
  while (side !== "left" && to > from) {
    const last = text.codePointAt(to - 2)! > 0xffff ? text.slice(to - 2, to) : text[to - 1]!;
    if (!set.has(last)) break;
    to -= last.length;
  }
  return text.slice(from, to);
}

const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");
const MONTHS = "January February March April May June July August September October November December".split(
  " ",
);

const STRFTIME: Readonly<Record<string, (date: Date) => string | number>> = {
  Y: (date) => date.getFullYear(),
  y: (date) => date.getFullYear() % 100,
  m: (date) => date.getMonth() + 1,
  B: (date) => MONTHS[date.getMonth()]!,
  b: (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  d: (date) => date.getDate(),
  A: (date) => DAYS[date.getDay()]!,
  a: (date) => DAYS[date.getDay()]!.slice(0, 3),
  H: (date) => date.getHours(),
  I: (date) => date.getHours() % 12 || 12,
  p: (date) => (date.getHours() < 12 ? "AM" : "PM"),
  M: (date) => date.getMinutes(),
  S: (date) => date.getSeconds(),
  "%": () => "%",
};

/** strftime in the C locale and local time. `%-d` leaves the zero out, as glibc does. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)(.)/g, (whole, bare: string, kind: string) => {
    const part = STRFTIME[kind]?.(date);
    if (part === undefined) throw new TemplateError(`strftime_now("${whole}") is not known here`);
    return typeof part === "number" && !bare ? String(part).padStart(2, "0") : String(part);
  });
}
