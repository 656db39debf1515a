import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openRows } from "../../src/cli/files.ts";
import { parseRows } from "../data/parseRows.ts";

describe("files of rows", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "graft-rows-"));
    for (const name of ["b.txt", "a.txt", "c.jsonl"]) writeFileSync(join(folder, name), `{"text":"${name}"}`);
    for (const name of ["README.md", "notes.docx"]) writeFileSync(join(folder, name), "left aside");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("are those of a folder whose names tell a format, in order, and whatever file is named", async () => {
    const sources = await openRows([folder, join(folder, "README.md")]);
    expect(sources.map(({ name }) => name)).toEqual(["a.txt", "b.txt", "c.jsonl", "README.md"]);
    const { rows } = await parseRows(sources);
    expect(rows.map((row) => ("text" in row ? row.text : row))).toEqual([
      "a.txt",
      "b.txt",
      "c.jsonl",
      "left aside",
    ]);
  });

  it("must be there", async () => {
    await expect(openRows([join(folder, "none.csv")])).rejects.toThrow(/no file or folder .*none\.csv/);
    rmSync(join(folder, "a.txt"));
    rmSync(join(folder, "b.txt"));
    rmSync(join(folder, "c.jsonl"));
    await expect(openRows([folder])).rejects.toThrow(/holds no file of rows.*\.parquet/);
  });
});
