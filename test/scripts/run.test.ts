import { spawnSync } from "node:child_process";
import { mkdtempSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { shaderText } from "../../src/gpu/shaders.ts";

const root = join(import.meta.dirname, "../..");
const elsewhere = realpathSync(mkdtempSync(join(tmpdir(), "graft-run-")));

function run(args: string[], cwd = elsewhere, variables: Record<string, string> = {}) {
  const { INIT_CWD: _, ...env } = process.env;
  const script = join(root, "scripts/run.mjs");
  const file = "test/scripts/fixtures/entry.ts";
  const ended = spawnSync(process.execPath, [script, file, ...args], {
    cwd,
    encoding: "utf8",
    env: { ...env, ...variables },
  });
  const [line] = ended.stdout.split("\n");
  return { status: ended.status, stderr: ended.stderr, said: line ? JSON.parse(line) : undefined };
}

describe("scripts/run.mjs", () => {
  it("hands the arguments on unchanged and stays in the user's folder", () => {
    const rest = ["--model", "a folder/with 'quotes'", "--", "-x=1", "", "*.json"];
    const { status, stderr, said } = run(["plain", ...rest]);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(said).toEqual({ ending: "plain", rest, cwd: elsewhere, shaders: shaderText.size });
  });

  it("goes back to the user's folder where npm has left it", () => {
    expect(run(["plain"], root, { INIT_CWD: elsewhere }).said.cwd).toBe(elsewhere);
    expect(run(["plain"], elsewhere, { INIT_CWD: root }).said.cwd).toBe(elsewhere);
  });

  it.each(["expected", "unwatched"])("tells an expected failure in one line (%s)", (ending) => {
    const { status, stderr } = run([ending]);
    expect(stderr).toBe("error: r is 0, a positive whole number was wanted. Set lora.r to 8.\n");
    expect(status).toBe(1);
  });

  it("keeps the stack of a defect, down to the line", () => {
    const { status, stderr } = run(["defect"]);
    expect(stderr).toContain("TypeError: x is undefined");
    expect(stderr).toContain("entry.ts:14:");
    expect(status).toBe(1);
  });

  it("ends with the entry's own exit code", () => {
    expect(run(["code"]).status).toBe(7);
  });
});
