/** What a run reported, in typed arrays: a hundred thousand steps must cost the page nothing but their bytes. */
import type { Report } from "../worker/api.ts";

/** Steps that the shown speed is measured over. */
const SPEED_STEPS = 20;
/** Share of the smoothed line that stays at each step. */
const SMOOTHING = 0.9;

/** A list of numbers that doubles its memory where it is full. */
export class Column {
  private held = new Float64Array(256);
  length = 0;

  push(value: number): void {
    if (this.length === this.held.length) {
      const larger = new Float64Array(2 * this.length);
      larger.set(this.held);
      this.held = larger;
    }
    this.held[this.length++] = value;
  }

  /** Counted from the end where negative; NaN where there is none. */
  at(index: number): number {
    return this.values[index < 0 ? this.length + index : index] ?? Number.NaN;
  }

  get values(): Float64Array {
    return this.held.subarray(0, this.length);
  }
}

export class Curves {
  readonly step = new Column();
  readonly loss = new Column();
  /** The loss, averaged over the steps before, the nearest the most. */
  readonly smoothed = new Column();
  readonly heldOutStep = new Column();
  readonly heldOutLoss = new Column();
  private readonly tokens = new Column();
  /** Of each step, without the evaluations between steps. */
  private readonly ms = new Column();
  private lastMs = 0;
  private average = 0;

  take(reports: readonly Report[]): void {
    for (const report of reports) {
      // Nothing is drawn of samples, of the audit and of how it ended.
      if ("samples" in report || "audit" in report || "diverged" in report) continue;
      if ("eval_loss" in report) {
        this.heldOutStep.push(report.step);
        this.heldOutLoss.push(report.eval_loss);
      } else {
        this.step.push(report.step);
        this.loss.push(report.loss);
        this.average = SMOOTHING * this.average + (1 - SMOOTHING) * report.loss;
        // The average began at 0, which counts less with every step.
        this.smoothed.push(this.average / (1 - SMOOTHING ** this.loss.length));
        this.tokens.push(report.tokens);
        this.ms.push(report.elapsed_ms - this.lastMs);
      }
      this.lastMs = report.elapsed_ms;
    }
  }

  /** Trained tokens a second over the last steps; undefined until a second step can be timed by the one before. */
  get tokensPerSecond(): number | undefined {
    // The first step's time holds whatever came before it.
    const from = Math.max(1, this.ms.length - SPEED_STEPS);
    let [tokens, ms] = [0, 0];
    for (let i = from; i < this.ms.length; i++) {
      tokens += this.tokens.at(i);
      ms += this.ms.at(i);
    }
    return ms > 0 ? (1000 * tokens) / ms : undefined;
  }
}

/** Which of `values` to draw where there is room for `buckets` columns: the lowest and the highest of each. */
export function extremes(values: Float64Array, buckets: number): Uint32Array {
  const { length } = values;
  if (length <= 2 * buckets) return Uint32Array.from(values.keys());
  const chosen: number[] = [];
  for (let bucket = 0; bucket < buckets; bucket++) {
    const end = Math.floor(((bucket + 1) * length) / buckets);
    let lowest = Math.floor((bucket * length) / buckets);
    let highest = lowest;
    for (let i = lowest + 1; i < end; i++) {
      if (values[i]! < values[lowest]!) lowest = i;
      if (values[i]! > values[highest]!) highest = i;
    }
    chosen.push(Math.min(lowest, highest));
    if (lowest !== highest) chosen.push(Math.max(lowest, highest));
  }
  return Uint32Array.from(chosen);
}

/** By step: the loss, its smoothed line, the held-out loss; null where a line has no point at that step. */
export type ChartPoints = [steps: number[], loss: Line, smoothed: Line, heldOut: Line];
type Line = (number | null)[];

/** The curves as so many columns can show them. */
export function chartPoints(curves: Curves, columns: number): ChartPoints {
  const shown = extremes(curves.loss.values, columns);
  const points: ChartPoints = [[], [], [], []];
  const add = (at: number, loss: number | null, smoothed: number | null, heldOut: number | null): void => {
    points[0].push(at);
    points[1].push(loss);
    points[2].push(smoothed);
    points[3].push(heldOut);
  };
  const { heldOutStep, heldOutLoss, step, loss, smoothed } = curves;
  let held = 0;
  for (const i of shown) {
    const here = step.at(i);
    while (heldOutStep.at(held) < here) {
      add(heldOutStep.at(held), null, null, heldOutLoss.at(held));
      held++;
    }
    const both = heldOutStep.at(held) === here;
    add(here, loss.at(i), smoothed.at(i), both ? heldOutLoss.at(held) : null);
    if (both) held++;
  }
  for (; held < heldOutStep.length; held++) add(heldOutStep.at(held), null, null, heldOutLoss.at(held));
  return points;
}
