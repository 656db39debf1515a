/** The command that hands an adapter on, where there is a device to run what it has written. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "graft-export-"));
afterAll(() => rmSync(folder, { recursive: true }));

const PATTERNS = "test/lora/fixtures/gguf/llama_patterns";
// As PEFT saves it: what A and B began as is taken from the base once more.
const PISSA = "reference/dumps/runs/llama_pissa/final";

it.each([
  [PATTERNS, ["--to", "gguf"], "adapter.gguf"],
  [PATTERNS, ["--to", "merged"], "merged"],
  [PATTERNS, ["--to", "merged-gguf", "--dtype", "f32"], "whole.gguf"],
  [PISSA, ["--to", "gguf"], "pissa.gguf"],
])("runs what it has written before it is there: %s %j", async (adapter, to, name) => {
  const out = join(folder, name);
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
