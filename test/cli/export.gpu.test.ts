/** The command that hands an adapter on, where there is a device to run what it has written. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "graft-export-"));
afterAll(() => rmSync(folder, { recursive: true }));

it.each([
  [["--to", "gguf"], "adapter.gguf"],
  [["--to", "merged"], "merged"],
  [["--to", "merged-gguf", "--dtype", "f32"], "whole.gguf"],
])("runs what it has written before it is there: %j", async (to, name) => {
  const out = join(folder, name);
  const adapter = "test/lora/fixtures/gguf/llama_patterns";
  const given = [adapter, "--model", "reference/dumps/bases/llama", ...to, "--out", out];
  const { stdout } = await promisify(execFile)(process.execPath, [
    "scripts/run.mjs",
    "src/cli/export.ts",
    ...given,
  ]);
  expect(stdout).toMatch(
    /read back {2}its logits differ by \S+e-[67] of the largest .*training has moved them/,
  );
  expect(existsSync(out)).toBe(true);
  expect(readdirSync(folder).filter((file) => file.startsWith("."))).toEqual([]);
});
