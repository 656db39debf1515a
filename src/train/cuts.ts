/**
 * Where a list of dispatches is cut into submits. It begins as one; a piece that ran past the budget twice in a row
 * is halved before it runs again, since browsers kill long command buffers and the page shares the GPU.
 */
export class Cuts {
  private readonly budgetMs: number;
  /** Piece i runs from borders[i] to borders[i + 1]. */
  private readonly borders: number[];
  private readonly overran = new Set<number>();
  private lastDone = 0;

  constructor(dispatches: number, budgetMs: number) {
    this.borders = [0, dispatches];
    this.budgetMs = budgetMs;
  }

  /** The pieces as they are now, [from, to). */
  pieces(): readonly (readonly [from: number, to: number])[] {
    return this.borders.slice(1).map((to, i) => [this.borders[i]!, to] as const);
  }

  /**
   * Takes the time of the piece that was submitted just now: from here, or from the end of the one before it, until the
   * queue is done. Nobody waits for the answer.
   */
  measure(queue: GPUQueue, from: number, to: number): void {
    const submitted = performance.now();
    void queue.onSubmittedWorkDone().then(
      () => {
        const done = performance.now();
        this.measured(from, to, done - Math.max(submitted, this.lastDone));
        this.lastDone = done;
      },
      // A lost device is reported by whoever waits for results.
      () => {},
    );
  }

  /** Says how long the piece that starts at `from` took on the device. */
  measured(from: number, to: number, ms: number): void {
    const i = this.borders.indexOf(from);
    // It may have been halved since it was submitted.
    if (i < 0 || this.borders[i + 1] !== to) return;
    if (ms <= this.budgetMs) {
      this.overran.delete(from);
    } else if (!this.overran.has(from)) {
      this.overran.add(from);
    } else if (to - from > 1) {
      this.borders.splice(i + 1, 0, from + ((to - from) >> 1));
      this.overran.delete(from);
    }
  }
}
