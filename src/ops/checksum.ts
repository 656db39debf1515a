/** A sum over a buffer's words that tells whether any of its bits has changed. */
import { ShapeError } from "../base/errors.ts";
import { type Graph, widthOf } from "../graph/graph.ts";
import type { Op, Value } from "../graph/value.ts";

const LANES = 256;
const MOST_GROUPS = 4096;

/** Adds the sum over `words`, u32 [count], to `sums`, a state u32 [places], at `place`. */
export function checksum(graph: Graph, words: Value, sums: Value, place: number): void {
  if (words.dtype !== "u32" || sums.dtype !== "u32" || place >= widthOf(sums)) {
    throw new ShapeError("shape", `checksum of ${words.name}: there is no place ${place} in ${sums.name}.`);
  }
  graph.record(sum, { place }, [words, sums], [], { mutates: [sums] });
}

const sum: Op<{ readonly place: number }> = {
  name: "checksum.sum",
  lower({ attributes: { place }, inputs }) {
    const [words, sums] = inputs as [Value, Value];
    const count = widthOf(words);
    return [
      {
        kernel: { file: "checksum", entry: "sum" },
        params: { count, place },
        bindings: { words, sums },
        workgroups: () => Math.min(MOST_GROUPS, Math.ceil(count / LANES)),
      },
    ];
  },
};
