/** What one rendering may cost. A template is a stranger's program: it may loop, or double a text until nothing fits. */
import type { Value } from "./values.ts";

/** For a row: all its renderings together. */
export const RENDER_MS = 250;
/** Longest text, in the middle or at the end; in UTF-16 units. */
export const MAX_TEXT = 1_000_000;
/** Longest list. Jinja's own sandbox ends a range at 100 000. */
export const MAX_ITEMS = 1_000_000;
export const MAX_RANGE = 100_000;

/** A template that asked for more than it may have. */
export class LimitError extends Error {
  readonly limit: "time" | "size";

  constructor(limit: "time" | "size", message: string) {
    super(message);
    this.limit = limit;
  }
}

export class Limits {
  private readonly deadline: number;
  private ticks = 0;

  constructor(milliseconds = RENDER_MS) {
    this.deadline = performance.now() + milliseconds;
  }

  /** Called for each node that is evaluated. */
  tick(): void {
    // The clock is dearer than a node.
    if ((++this.ticks & 0xff) === 0 && performance.now() > this.deadline) {
      throw new LimitError("time", `it was not done after ${RENDER_MS} ms`);
    }
  }

  /** Asked before a text of this length is made. */
  text(length: number): void {
    if (length > MAX_TEXT)
      throw new LimitError("size", `it makes a text of more than ${MAX_TEXT} characters`);
  }

  list(length: number): void {
    if (length > MAX_ITEMS) throw new LimitError("size", `it makes a list of more than ${MAX_ITEMS} entries`);
  }

  check<T extends Value>(value: T): T {
    if (typeof value === "string") this.text(value.length);
    else if (Array.isArray(value)) this.list(value.length);
    return value;
  }
}
