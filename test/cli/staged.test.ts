import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
  await staged.keep();
  writeFileSync(join(folder, "other.txt"), "");
  expect(readFileSync(join(folder, "a.txt"), "utf8")).toBe("onetwo");
  expect(readFileSync(join(folder, "below/b.txt"), "utf8")).toBe("three");
  const again = new StagedFiles(folder);
  await again.write(stream("a.txt", "new"));
  await again.keep();
  expect(readFileSync(join(folder, "a.txt"), "utf8")).toBe("new");
  expect(readdirSync(folder).sort()).toEqual(["a.txt", "below", "other.txt"]);
  expect(readdirSync(parent)).toEqual(["kept"]);
});

it("leaves nothing of what is discarded", async () => {
  const staged = new StagedFiles(join(parent, "discarded"));
  await staged.write(stream("a.txt", "one"));
  await staged.discard();
  expect(readdirSync(parent)).toEqual(["kept"]);
});
