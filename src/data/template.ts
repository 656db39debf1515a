/** A chat template: its source parsed once by @huggingface/jinja, rendered as often as wanted. */
import { Environment, parse, tokenize } from "@huggingface/jinja";
import type { Json } from "../base/json.ts";
import { GENERATION, LimitError, MARKS, MendedInterpreter } from "./interpreter.ts";
import { strftime, TemplateError } from "./python.ts";

/** As in Jinja's own sandbox. */
const MAX_RANGE = 100_000;

export interface Rendered {
  readonly text: string;
  /** Where generation blocks begin and end, in UTF-16 units; pairs, in the order of the text. */
  readonly generated: readonly number[];
}

const GENERATION_TAG = /\{%(-?)\s*(end)?generation\s*(-?)%\}/g;

export class Template {
  readonly marksGeneration: boolean;
  private readonly program: ReturnType<typeof parse>;
  private readonly now: Date;

  /** Throws whatever the parser throws. `now` is what strftime_now() tells. */
  constructor(source: string, now: Date) {
    // The library drops the generation tags. Transformers makes a call block of them, and so does this.
    const blocks = source
      .replace(/\r\n?/g, "\n")
      .replace(GENERATION_TAG, (_, before: string, end: string | undefined, after: string) =>
        end ? `{%${before} endcall ${after}%}` : `{%${before} call ${GENERATION}() ${after}%}`,
      );
    this.program = parse(tokenize(blocks, { trim_blocks: true, lstrip_blocks: true }));
    this.marksGeneration = source.search(GENERATION_TAG) >= 0;
    this.now = now;
  }

  /** Throws TemplateError, or LimitError where a limit was passed. */
  render(variables: Readonly<Record<string, Json>>): Rendered {
    const scope = new Environment();
    for (const [name, value] of Object.entries({ ...globals(this.now), ...variables }))
      scope.set(name, value);
    try {
      const text = new MendedInterpreter(new Environment(scope)).render(this.program);
      return this.marksGeneration ? withoutMarks(text) : { text, generated: [] };
    } catch (thrown) {
      if (thrown instanceof LimitError || thrown instanceof TemplateError) throw thrown;
      const { message } = thrown as Error;
      // The engine's own: a stack too deep, a text too long.
      if (thrown instanceof RangeError) throw new LimitError(`it asks for too much (${message})`);
      throw new TemplateError(message);
    }
  }
}

function globals(now: Date) {
  return {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range,
    raise_exception(message: unknown) {
      throw new TemplateError(String(message ?? ""));
    },
    strftime_now: (format: string) => strftime(now, format),
  };
}

function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) {
    throw new LimitError(`it makes a range of ${length} numbers, and Jinja's sandbox ends at ${MAX_RANGE}`);
  }
  return Array.from({ length }, (_, i) => start + i * step);
}

/** Takes the marks out and says where they were. */
function withoutMarks(marked: string): Rendered {
  const parts = marked.split(MARKS);
  const generated: number[] = [];
  let end = 0;
  for (const part of parts.slice(0, -1)) {
    end += part.length;
    generated.push(end);
  }
  return { text: parts.join(""), generated };
}

/** Whether a value holds one of the marks, so that a template's generation blocks could be mistaken. */
export function holdsMark(value: Json): boolean {
  return MARKS.test(JSON.stringify(value));
}
