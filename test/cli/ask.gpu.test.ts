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
  return {
    status,
    stdout,
    stderr,
    answers: [...stdout.matchAll(/^answer {5}(.*)$/gm)].map(([, text]) => text),
  };
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
  // The base that it names may be another than the one that is asked.
  expect(tuned.stdout).toMatch(/^adapter {4}a\.zip at 1, made for .+$/m);
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

it.each([
  [
    ["--adapter", `${adapter}:3`],
    /The strength of .*final is 3, expected a number from 0 to 2, such as 0\.5\. Usage/,
  ],
  [["--adapter", `${adapter}:-1`], /is -1, expected a number from 0 to 2/],
  [["--adapter", `${adapter}:0,5`], /is 0,5, expected a number from 0 to 2/],
  [["--max-new-tokens", "0"], /--max-new-tokens is 0, expected at least 1\. Usage/],
  [
    ["--adapter", join(dumps, "runs/llama_all_linear")],
    /its folders "(final|initial)", "(final|initial)" do/,
  ],
])("says in one line, and before the base is read, what is wrong with %j", (given, message) => {
  const { status, stderr, stdout } = ask("--prompt", "a", ...given);
  expect(status).toBe(1);
  expect(stderr).toMatch(message);
  expect(stderr).not.toContain("    at ");
  expect(stdout).toBe("");
});

it("says how it is used", () => {
  const { status, stdout } = ask("--help");
  expect(status).toBe(0);
  expect(stdout).toMatch(/^Usage: npm run ask -- --model DIR --prompt TEXT/);
});
