import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { FileStream } from "../../src/base/bytes.ts";
import { StagedFiles } from "../../src/cli/staged.ts";

const parent = mkdtempSync(join(tmpdir(), "graft-staged-"));
afterAll(() => rmSync(parent, { recursive: true }));

function stream(name: string, ...texts: string[]): FileStream {
  const pieces = texts.map((text) => new TextEncoder().encode(text));
  return {
    name,
    byteLength: pieces.reduce((sum, { length }) => sum + length, 0),
    async *pieces() {
      yield* pieces;
    },
  };
}

it("shows a file in its folder only when it is kept, beside what stands there", async () => {
  const folder = join(parent, "kept");
  const staged = new StagedFiles(folder);
  const source = await staged.write(stream("a.txt", "one", "two"));
  await staged.write(stream("below/b.txt", "three"));
  expect(new TextDecoder().decode(await source.read(2, 6))).toBe("etwo");
  expect(existsSync(join(folder, "a.txt"))).toBe(false);
  staged.keep();
  writeFileSync(join(folder, "other.txt"), "");
  expect(readFileSync(join(folder, "a.txt"), "utf8")).toBe("onetwo");
  expect(readFileSync(join(folder, "below/b.txt"), "utf8")).toBe("three");
  const again = new StagedFiles(folder);
  await again.write(stream("a.txt", "new"));
  again.keep();
  expect(readFileSync(join(folder, "a.txt"), "utf8")).toBe("new");
  expect(readdirSync(folder).sort()).toEqual(["a.txt", "below", "other.txt"]);
  expect(readdirSync(parent)).toEqual(["kept"]);
});

it("leaves nothing of what is discarded", async () => {
  const staged = new StagedFiles(join(parent, "discarded"));
  await staged.write(stream("a.txt", "one"));
  staged.discard();
  expect(readdirSync(parent)).toEqual(["kept"]);
});

it("leaves no folder that was made for what is discarded, and none that others use", async () => {
  const staged = new StagedFiles(join(parent, "new/below"));
  await staged.check();
  expect(readdirSync(parent)).toEqual(["kept"]);
  await staged.write(stream("a.txt", "one"));
  writeFileSync(join(parent, "new/other.txt"), "");
  staged.discard();
  expect(readdirSync(join(parent, "new"))).toEqual(["other.txt"]);
});

it("says that a folder takes no files before any is made, and which", async () => {
  const file = join(parent, "a-file");
  writeFileSync(file, "");
  for (const folder of [file, join(file, "below")])
    await expect(new StagedFiles(folder).check()).rejects.toMatchObject({
      code: "disk",
      message: expect.stringMatching(
        /a-file.* cannot be written: .*\. A file stands where a folder is wanted/,
      ),
    });
  mkdirSync(join(parent, "taken/a.txt"), { recursive: true });
  const staged = new StagedFiles(join(parent, "taken"));
  await staged.write(stream("a.txt", "one"));
  expect(() => staged.keep()).toThrow(/taken cannot be written: .*directory/);
  staged.discard();
  expect(readdirSync(join(parent, "taken"))).toEqual(["a.txt"]);
});

it.skipIf(!existsSync("/dev/full"))("tells a full disk in words, and leaves nothing on it", async () => {
  const folder = join(parent, "full");
  const stage = join(folder, `.part-${process.pid}`);
  mkdirSync(stage, { recursive: true });
  symlinkSync("/dev/full", join(stage, "a.txt"));
  const staged = new StagedFiles(folder);
  await expect(staged.write(stream("a.txt", "one"))).rejects.toThrow(
    /full cannot be written: no space left on device \(ENOSPC\)\. Make room there/,
  );
  staged.discard();
  expect(readdirSync(folder)).toEqual([]);
});

it("leaves nothing where the command is ended while it writes", async () => {
  const folder = join(parent, "ended");
  const script = `
    import { StagedFiles } from ${JSON.stringify(join(import.meta.dirname, "../../src/cli/staged.ts"))};
    const staged = new StagedFiles(${JSON.stringify(folder)});
    await staged.write({ name: "a.txt", byteLength: 1, async *pieces() {
      yield new Uint8Array([1]);
      console.log("begun");
      await new Promise((resolve) => setTimeout(resolve, 1e8));
    } });`;
  const file = join(parent, "ended.ts");
  writeFileSync(file, script);
  const run = join(import.meta.dirname, "../../scripts/run.mjs");
  const child = spawn(process.execPath, [run, file], { env: { ...process.env, GRAFT_GPU_FOUND: "1" } });
  await once(child.stdout, "data");
  expect(readdirSync(folder)).toHaveLength(1);
  child.kill("SIGINT");
  expect(await once(child, "exit")).toEqual([130, null]);
  expect(existsSync(folder)).toBe(false);
});
