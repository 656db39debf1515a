/** A chat template: its source parsed once, rendered as often as wanted. */
import type { Json } from "../../base/json.ts";
import { GENERATION, marksGeneration, parseTemplate, type Statement } from "./ast.ts";
import { attributeName, Evaluator, Scope } from "./evaluate.ts";
import { LimitError, Limits, MAX_RANGE } from "./limits.ts";
import { strftime } from "./time.ts";
import {
  Attributes,
  type Callable,
  type Dict,
  items,
  numberOf,
  print,
  TemplateError,
  typeName,
  type Value,
} from "./values.ts";

/** Stand around what a generation block wrote. Unicode keeps them free of characters; a text that has one is refused. */
const [OPEN, CLOSE] = ["\ufdd0", "\ufdd1"];

export interface Rendered {
  readonly text: string;
  /** Where generation blocks begin and end, in UTF-16 units; pairs, in the order of the text. */
  readonly generated: readonly number[];
}

export class Template {
  readonly marksGeneration: boolean;
  private readonly body: readonly Statement[];
  private readonly now: Date;

  /** Throws whatever the parser throws. `now` is what strftime_now() tells. */
  constructor(source: string, now: Date) {
    this.body = parseTemplate(source);
    this.marksGeneration = marksGeneration(source);
    this.now = now;
  }

  /** Throws TemplateError, or LimitError where a limit was passed. */
  render(variables: Readonly<Record<string, Value>>, limits = new Limits()): Rendered {
    const scope = globals(this.now);
    for (const [name, value] of Object.entries(variables)) scope.set(name, value);
    try {
      return withoutMarks(new Evaluator(limits).render(this.body, new Scope(scope)));
    } catch (thrown) {
      if (thrown instanceof TemplateError || thrown instanceof LimitError) throw thrown;
      // The engine's own: a stack too deep, a text too long.
      if (thrown instanceof RangeError)
        throw new LimitError("size", `it asks for too much (${thrown.message})`);
      throw thrown;
    }
  }
}

function globals(now: Date): Scope {
  const scope = new Scope();
  const set = (name: string, value: Callable) => scope.set(name, value);
  for (const [name, value] of Object.entries({ true: true, false: false, none: null })) {
    scope.set(name, value);
    scope.set(name[0]!.toUpperCase() + name.slice(1), value);
  }
  set("range", range);
  set("dict", (args, named) => dictFrom(args, named));
  set("namespace", (args, named) => {
    const entries = [...dictFrom(args, named)].map(
      ([key, value]) => [attributeName(print(key)), value] as const,
    );
    return new Attributes(new Map(entries), true);
  });
  set("raise_exception", ([message]) => {
    throw new TemplateError(print(message));
  });
  set("strftime_now", ([format]) => strftime(now, print(format)));
  set("joiner", ([separator = ", "]) => {
    let first = true;
    return () => {
      const text = first ? "" : separator;
      first = false;
      return text;
    };
  });
  scope.set(GENERATION, (_, named) => {
    const caller = named.get("caller") as Callable;
    return OPEN + print(caller([], new Map())) + CLOSE;
  });
  return scope;
}

const range: Callable = (args) => {
  const numbers = args.map((value) => {
    const number = numberOf(value);
    if (number === undefined) throw new TemplateError(`range() wants int, not ${typeName(value)}`);
    return number;
  });
  const [start, stop, step = 1] =
    numbers.length === 1 ? [0, numbers[0]!] : (numbers as [number, number, number?]);
  if (step === 0) throw new TemplateError("range() arg 3 must not be zero");
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_RANGE) {
    throw new LimitError(
      "size",
      `it makes a range of ${length} numbers, and Jinja's sandbox ends at ${MAX_RANGE}`,
    );
  }
  return Array.from({ length }, (_, i) => start + i * step);
};

function dictFrom(args: readonly Value[], named: ReadonlyMap<string, Value>): Dict {
  const [source] = args;
  const pairs: Iterable<readonly [Value, Value]> =
    source instanceof Map ? source : items(source).map((pair) => items(pair) as [Value, Value]);
  return new Map<Value, Value>([...pairs, ...named]);
}

/** Takes the marks out and says where they were. */
function withoutMarks(marked: string): Rendered {
  if (!marked.includes(OPEN!)) return { text: marked, generated: [] };
  const generated: number[] = [];
  let text = "";
  let from = 0;
  for (let i = 0; i < marked.length; i++) {
    if (marked[i] !== OPEN && marked[i] !== CLOSE) continue;
    text += marked.slice(from, i);
    from = i + 1;
    generated.push(text.length);
  }
  return { text: text + marked.slice(from), generated };
}

/** Whether a value holds one of the marks, so that a template's generation blocks could be mistaken. */
export function holdsMark(value: Json): boolean {
  return /[\ufdd0\ufdd1]/.test(JSON.stringify(value));
}
