/** Gathers what comes in quick succession and hands it on at once: a message for every step would keep a page busy. */
export class Batches<T> {
  private readonly send: (items: readonly T[]) => void;
  private readonly intervalMs: number;
  private waiting: T[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private sentAt = Number.NEGATIVE_INFINITY;

  constructor(send: (items: readonly T[]) => void, intervalMs: number) {
    this.send = send;
    this.intervalMs = intervalMs;
  }

  /** Hands on at once what comes after a quiet interval; the rest when the interval is over. */
  add(item: T): void {
    this.waiting.push(item);
    if (this.timer !== undefined) return;
    const restMs = this.sentAt + this.intervalMs - performance.now();
    if (restMs <= 0) this.flush();
    else this.timer = setTimeout(() => this.flush(), restMs);
  }

  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.waiting.length === 0) return;
    const items = this.waiting;
    this.waiting = [];
    this.sentAt = performance.now();
    this.send(items);
  }
}
