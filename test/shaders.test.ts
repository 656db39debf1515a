import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readShader, withoutComments } from "../src/gpu/wgsl.ts";

const root = join(import.meta.dirname, "..");

/** What is missing before a shader counts as tested. Each is undefined where there is no such file. */
function gaps(path: string, shader: string, oracle: string | undefined, test: string | undefined): string[] {
  const name = family(path);
  const entries = [...readShader(shader).entries.keys()];
  const missing: string[] = [];
  if (entries.length === 0)
    missing.push(`shaders/${path}.wgsl has no entry point: a part belongs into a folder.`);
  if (oracle === undefined)
    missing.push(`shaders/${name}.wgsl has no oracle: write test/reference/${name}.ts.`);
  if (test === undefined)
    return [...missing, `shaders/${name}.wgsl has no test: write test/ops/${name}.gpu.test.ts.`];
  const words = new Set(withoutComments(test).match(/\w+/g));
  const untested = entries.filter((entry) => !words.has(entry));
  return [
    ...missing,
    ...untested.map((entry) => `test/ops/${name}.gpu.test.ts never names the pass ${entry}.`),
  ];
}

/** "linear/quad" has linear's oracle and tests. */
function family(path: string): string {
  return path.split("/")[0]!;
}

function readIfThere(path: string): string | undefined {
  return existsSync(join(root, path)) ? readFileSync(join(root, path), "utf8") : undefined;
}

/** What is joined to several kernels, and launches nothing. */
const PARTS = /^(common|weights)\//;
const names = readdirSync(join(root, "shaders"), { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".wgsl") && !PARTS.test(file))
  .map((file) => file.slice(0, -".wgsl".length));

describe("every shader", () => {
  it.each(names)("%s has an oracle, and a test that names each of its passes", (name) => {
    const found = gaps(
      name,
      readFileSync(join(root, `shaders/${name}.wgsl`), "utf8"),
      readIfThere(`test/reference/${family(name)}.ts`),
      readIfThere(`test/ops/${family(name)}.gpu.test.ts`),
    );
    expect(found).toEqual([]);
  });
});

describe("the check of the shaders", () => {
  const shader = `
    // @compute fn remark() {}
    @group(0) @binding(0) var<storage, read_write> y: array<f32>;
    fn part() {}
    @compute @workgroup_size(64) fn forward() { part(); }
    @workgroup_size(8, 8, 1)
    @compute
    fn backward_input(@builtin(global_invocation_id) id: vec3u) { y[id.x] = 0.0; }`;
  const test = 'run("forward"); run("backward_input");';

  it("is content with an oracle and a test of each pass", () => {
    expect(gaps("relu", shader, "oracle", test)).toEqual([]);
  });
  it("misses an oracle", () => {
    expect(gaps("relu", shader, undefined, test)).toEqual([
      expect.stringContaining("test/reference/relu.ts"),
    ]);
  });
  it("misses a test", () => {
    expect(gaps("relu", shader, "oracle", undefined)).toEqual([
      expect.stringContaining("test/ops/relu.gpu.test.ts"),
    ]);
  });
  it("misses a pass", () => {
    const half = 'run("forward"); // run("backward_input")';
    expect(gaps("relu", shader, "oracle", half)).toEqual([expect.stringContaining("backward_input")]);
  });
  it("misses a pass whose name is only part of another word", () => {
    expect(gaps("relu", shader, "oracle", 'run("forward"); run("backward_input_bias");')).toHaveLength(1);
  });
  it("wants parts in a folder of their own", () => {
    expect(gaps("relu", "fn part() {}", "oracle", "")).toEqual([expect.stringContaining("no entry point")]);
  });
});
