import type { Progress } from "../worker/api.ts";
import { count } from "./format.ts";

/** What the worker is at. */
export const PROGRESS_WORDS: Readonly<
  Record<Progress["stage"], (done: number, total: number) => readonly [label: string, words: string]>
> = {
  read: (done, total) => ["Read", `Reading the rows: ${percentOf(done, total)}`],
  encode: (done, total) => ["Tokenised", `Tokenising: ${count(done)} of ${count(total)} rows`],
  start: (done, total) => ["Decomposed", `Decomposing the base's weights: ${done} of ${total}`],
  load: (done, total) => [
    "Loaded",
    done < total ? `Loading the base model: ${percentOf(done, total)}` : "The base model is loaded.",
  ],
  compile: (done, total) => ["Compiled", `Compiling kernels: ${done} of ${total}`],
  write: (done, total) => ["Written", `Writing the files: ${percentOf(done, total)}`],
  check: () => ["Checked", "Reading the files back…"],
};

function percentOf(done: number, total: number): string {
  return `${Math.floor((100 * done) / Math.max(1, total))} %`;
}
