/** What the bench asks of each engine that it measures. A contender's file exports `acquire` and `start`. */
import type { DeviceTraits } from "../src/gpu/device.ts";
import type { Problem } from "./problem.ts";

export interface Run {
  /** One training step, its update included. Gives its loss once all of it is done on the device. */
  step(): Promise<number>;
}

export interface StartOptions {
  /** A row of Graft's tile table to use for every product; the others choose for themselves. */
  readonly tile?: DeviceTraits["tile"];
}

export interface Contender {
  /** Gets a device; not timed. */
  acquire(): Promise<void>;
  /** Brings the problem to the device. What is left to the first step is compiled there. */
  start(problem: Problem, options: StartOptions): Promise<Run>;
}
