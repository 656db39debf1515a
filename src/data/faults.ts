/** Rows that cannot be trained on: found while a file is read, counted, and told together at its end. */
import { DataError } from "../base/errors.ts";

/** What is wrong with a row, as a predicate: " is not JSON: …". Thrown by who reads a row, caught by who reads the file. */
export class RowFault {
  constructor(
    readonly code: string,
    readonly found: string,
    readonly remedy = "",
  ) {}
}

/** A row that cannot be trained on. */
export interface Fault {
  /** Where the row stands in its file, counted from 1. */
  readonly line: number;
  readonly code: string;
  /** Names the file and the row. */
  readonly message: string;
  readonly remedy: string;
}

/** All are counted, so many are kept to be shown. */
export const KEPT_FAULTS = 100;

/** The faults of one file. */
export class Faults {
  count = 0;
  readonly kept: Fault[] = [];
  private readonly file: string;
  private readonly unit: "line" | "row";

  constructor(file: string, unit: "line" | "row") {
    this.file = file;
    this.unit = unit;
  }

  add(line: number, { code, found, remedy }: RowFault): void {
    this.count++;
    if (this.kept.length === KEPT_FAULTS) return;
    this.kept.push({ line, code, message: `${this.file}, ${this.unit} ${line}${found}`, remedy });
  }

  /** What `read` gives for a row, or undefined where it throws a RowFault, which is counted. */
  catch<T>(line: number, read: () => T): T | undefined {
    try {
      return read();
    } catch (thrown) {
      if (!(thrown instanceof RowFault)) throw thrown;
      this.add(line, thrown);
      return undefined;
    }
  }
}

/** The error that refuses a file for its faults: the first of them, how many more there are, and what to do. */
export function refusal([first]: readonly Fault[], count: number, hasGood: boolean): DataError {
  if (!first) throw new Error("There is no fault to refuse a file for.");
  const more = count === 2 ? " 1 more row is faulty." : ` ${count - 1} more rows are faulty.`;
  const remedies = [first.remedy, hasGood ? 'Faulty rows can be left out (faulty "skip").' : ""];
  return new DataError(
    first.code,
    first.message + (count > 1 ? more : ""),
    remedies.filter((remedy) => remedy !== "").join(" "),
  );
}
