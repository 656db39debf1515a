import { DataError } from "../base/errors.ts";

/** Work of one kind that can be stopped: what is under way then ends with an error that says so. */
export class Stoppable {
  private readonly found: string;
  private readonly remedy: string;
  private current = new AbortController();

  constructor(found: string, remedy: string) {
    this.found = found;
    this.remedy = remedy;
  }

  /** It is asked for anew; what is under way is stopped. */
  begin(): AbortSignal {
    this.stop();
    this.current = new AbortController();
    return this.current.signal;
  }

  stop(): void {
    this.current.abort(new DataError("stopped", this.found, this.remedy));
  }
}
