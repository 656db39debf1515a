import { describe, expect, it } from "vitest";
import { readDataset } from "../../src/train/dataset.ts";
import { parseRunFile } from "../../src/train/runFile.ts";
import { sourceOf } from "../data/sources.ts";

const read = (train: object, held: readonly string[] = []) => {
  const csv = sourceOf("a.csv", `q,a\n${[0, 1, 2, 3, 4, 5, 6, 7, 8, 8].map((n) => `${n},x\n`).join("")}`);
  const sources = held.map((rows) => sourceOf("held.csv", rows));
  const mapping = { column_mapping: { prompt: "{q}", completion: "{a}" } };
  return readDataset([csv], sources, parseRunFile({ train: { ...mapping, ...train } }, "run.json").train);
};

describe("a run's rows", () => {
  it("are read as its run file says", async () => {
    const { train, heldOut, duplicates, leaks } = await read({});
    expect(train[0]).toEqual({ prompt: "0", completion: "x", line: 2 });
    expect(train).toHaveLength(10);
    expect(heldOut).toBeUndefined();
    expect([duplicates, leaks]).toEqual([[9], []]);
    const asText = await read({ column_mapping: null, dataset_text_field: "a" });
    expect(asText.train[0]).toEqual({ text: "x", line: 2 });
    const asLines = await read({ column_mapping: null, data_format: "text-lines" });
    expect(asLines.train[1]).toEqual({ text: "0,x", line: 2 });
  });

  it("are held out by share, as the seed says", async () => {
    const { train, heldOut } = await read({ eval_split: 0.3, seed: 5 });
    expect([train.length, heldOut!.length]).toEqual([7, 3]);
    expect((await read({ eval_split: 0.3, seed: 5 })).heldOut).toEqual(heldOut);
    expect((await read({ eval_split: 0.3, seed: 6 })).heldOut).not.toEqual(heldOut);
  });

  it("are held out as a file", async () => {
    const { heldOut, leaks, parsed } = await read({}, ["q,a,b\n8,x,1\n9,x,2\n"]);
    expect(heldOut).toHaveLength(2);
    expect(leaks).toEqual([8, 9]);
    expect(parsed[1]!.unusedColumns).toEqual(["b"]);
    await expect(read({ eval_split: 0.1 }, ["q,a\n1,2\n"])).rejects.toThrow(/eval_split is 0\.1, and a file/);
  });
});
