/** The command that asks a model with adapters on. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const dumps = join(root, "reference/dumps");
const adapter = join(dumps, "runs/llama_all_linear/final");
const folder = mkdtempSync(join(tmpdir(), "graft-ask-"));
afterAll(() => rmSync(folder, { recursive: true }));

function ask(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...[join(root, "scripts/run.mjs"), join(root, "src/cli/ask.ts")],
      ...["--model", join(dumps, "bases/llama"), "--raw", "--max-new-tokens", "6", ...args],
    ],
    { encoding: "utf8" },
  );
  return { status, stderr, answers: [...stdout.matchAll(/^answer {5}(.*)$/gm)].map(([, text]) => text) };
}

it("answers as the base, with an adapter in a zip, and with several at strengths", () => {
  const prompts = ["--prompt", "the tree", "--prompt", "a"];
  const base = ask(...prompts);
  expect(base).toMatchObject({ status: 0, answers: { length: 2 } });
  const zip = join(folder, "a.zip");
  const files = readdirSync(adapter).map((name) => [name, readFileSync(join(adapter, name))]);
  writeFileSync(zip, zipSync(Object.fromEntries(files)));
  const tuned = ask(...prompts, "--adapter", zip);
  expect(tuned.answers).not.toEqual(base.answers);
  // Twice a half is a whole, up to rounding.
  const halves = ["--adapter", `${adapter}:0.5`, "--adapter", `${zip}:0.5`];
  expect(ask(...prompts, ...halves).answers).toEqual(tuned.answers);
});

it("leaves out layers, and what lies outside them", () => {
  const adapter = join(dumps, "runs/llama_lm_head_lora/final");
  const tuned = (off: string) => ask("--prompt", "a", "--adapter", adapter, "--layers-off", off).answers;
  const { answers: base } = ask("--prompt", "a");
  expect(tuned("0,1")).not.toEqual(base);
  expect(tuned("0,1,outside")).toEqual(base);
  const { status, stderr } = ask("--prompt", "a", "--layers-off", "0,out");
  expect(status).not.toBe(0);
  expect(stderr).toContain("--layers-off has out, expected numbers of layers and outside.");
});

it("says what is wrong in one line", () => {
  const { status, stderr } = ask("--prompt", "a", "--adapter", `${adapter}:3`);
  expect(status).not.toBe(0);
  expect(stderr).toContain("The strength of an adapter is 3, expected 0 to 2.");
  expect(stderr).not.toContain("    at ");
});
