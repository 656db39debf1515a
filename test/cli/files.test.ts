import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FileSet } from "../../src/base/bytes.ts";
import { fileSource, openAdapterPath, openDirectory, openRows } from "../../src/cli/files.ts";
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

describe("paths", () => {
  const folder = mkdtempSync(join(tmpdir(), "graft-paths-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("say what they are instead of what is wanted", async () => {
    const file = join(folder, "run.json");
    writeFileSync(file, "{}");
    await expect(fileSource(folder)).rejects.toThrow(/is a folder, not a file\. Name a file in it/);
    await expect(openDirectory(file)).rejects.toThrow(/run\.json is a file, not a folder/);
    await expect(fileSource(join(folder, "none"))).rejects.toThrow(/There is no file .*none/);
    await expect(openDirectory(join(folder, "none"))).rejects.toThrow(/There is no folder .*none/);
  });

  it("of a Trainer's checkpoints, or of adapters with names, name those", async () => {
    for (const name of ["checkpoint-100", "checkpoint-200"]) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "adapter_config.json"), "{}");
    }
    mkdirSync(join(folder, "runs"));
    await expect(openAdapterPath(folder)).rejects.toThrow(
      /adapter_config\.json; its folders "checkpoint-100", "checkpoint-200" do\. Name one adapter: .*checkpoint-100\.$/,
    );
    const { names } = (await openAdapterPath(join(folder, "checkpoint-200"))) as FileSet;
    expect(names()).toEqual(["adapter_config.json"]);
  });
});
