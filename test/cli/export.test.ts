/** The command that writes an adapter as GGUF. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, describe, expect, it } from "vitest";
import { fileSource } from "../../src/cli/files.ts";
import { openGguf } from "../../src/formats/gguf.ts";

const root = join(import.meta.dirname, "../..");
const fixture = join(root, "test/lora/fixtures/gguf/llama_patterns");
const model = join(root, "reference/dumps/bases/llama");
const folder = mkdtempSync(join(tmpdir(), "graft-export-"));
afterAll(() => rmSync(folder, { recursive: true }));

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(root, "scripts/run.mjs"), join(root, "src/cli/export.ts"), ...args],
    { encoding: "utf8", env: { ...process.env, GRAFT_GPU: "none" } },
  );
  return { status, stdout, stderr };
}

describe("npm run export", () => {
  it("writes the file that llama.cpp agrees with PEFT on, and a Modelfile with the adapter's own template", () => {
    const adapter = join(folder, "adapter");
    cpSync(fixture, adapter, { recursive: true });
    cpSync(join(root, "reference/templates/chatml.jinja"), join(adapter, "chat_template.jinja"));
    const out = join(folder, "new", "tiny.gguf");
    const { status, stdout } = run(adapter, "--model", model, "--to", "gguf", "--out", out);
    expect(status).toBe(0);
    expect(stdout).toMatch(/written {4}.*tiny\.gguf, 2 files, \d+ bytes/);
    expect(stdout).toMatch(/read back {2}A and scale·B differ by \d\.\de-(8|7) /);
    expect(readFileSync(out).equals(readFileSync(join(fixture, "expected.gguf")))).toBe(true);
    const recipe = readFileSync(join(folder, "new", "tiny.Modelfile"), "utf8");
    expect(recipe).toMatch(/^FROM .*bases\/llama\nADAPTER \.\/tiny\.gguf\nTEMPLATE """/);
    expect(recipe).toContain('PARAMETER stop "<|im_end|>"');
  });

  it("names the base as told, and leaves the template to Ollama where the model has none", () => {
    const out = join(folder, "named.gguf");
    const to = ["--to", "gguf", "--out", out, "--base", "tinyllama"];
    const { status } = run(fixture, "--model", model, ...to);
    expect(status).toBe(0);
    expect(readFileSync(join(folder, "named.Modelfile"), "utf8")).toBe(
      "FROM tinyllama\nADAPTER ./named.gguf\n",
    );
  });

  it("refuses what GGUF cannot hold in one line, and writes nothing", () => {
    const adapter = join(folder, "dora");
    cpSync(fixture, adapter, { recursive: true });
    const config = join(adapter, "adapter_config.json");
    const given = JSON.parse(readFileSync(config, "utf8")) as object;
    writeFileSync(config, JSON.stringify({ ...given, use_dora: true }));
    const before = readdirSync(folder);
    const { status, stderr } = run(
      ...[adapter, "--model", model, "--to", "gguf", "--out", join(folder, "d.gguf")],
    );
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: .*use_dora true.*DoRA's magnitudes\. Hand on the merged model.*\n$/);
    expect(readdirSync(folder)).toEqual(before);
  });

  it("merges into a folder that can be opened as a base, and never into one that holds something", () => {
    const out = join(folder, "merged");
    const into = [fixture, "--model", model, "--to", "merged", "--out", out];
    const { status, stdout } = run(...into);
    expect(status).toBe(0);
    expect(stdout).toMatch(/written {4}.*merged, 5 files, \d+ bytes/);
    expect(readdirSync(out).sort()).toEqual(readdirSync(model).sort());
    const again = run(...into);
    expect(again.status).toBe(1);
    expect(again.stderr).toMatch(/merged holds 5 files already/);
  });

  it("merges a zipped adapter into one GGUF file, with a Modelfile that names no other", async () => {
    const out = join(folder, "alone.gguf");
    const files = ["adapter_config.json", "adapter_model.safetensors"];
    const zip = join(folder, "adapter.zip");
    writeFileSync(
      zip,
      zipSync(Object.fromEntries(files.map((name) => [name, readFileSync(join(fixture, name))]))),
    );
    const to = ["--to", "merged-gguf", "--dtype", "q8_0", "--out", out];
    const { status, stdout } = run(zip, "--model", model, ...to);
    expect(status).toBe(0);
    const { metadata, tensors } = await openGguf(await fileSource(out));
    expect(metadata.get("general.file_type")?.value).toBe(7);
    expect(tensors.get("blk.1.attn_q.weight")?.type).toBe("Q8_0");
    expect(stdout).toMatch(/alone\.gguf, 2 files, \d+ bytes\nread back {2}not run: there is no GPU/);
    expect(readFileSync(out.replace(".gguf", ".Modelfile"), "utf8")).toBe("FROM ./alone.gguf\n");
  });

  it.each([
    [
      ["x", "--model", model, "--to", "merged-gguf", "--dtype", "q4", "--out", "x.gguf"],
      /--dtype is q4, not f32/,
    ],
    [[fixture, "--model", model, "--out", "x.gguf"], /must be given/],
    [
      [fixture, "--model", model, "--to", "onnx", "--out", "x.gguf"],
      /--to is onnx, not gguf, merged or merged-gguf/,
    ],
    [[fixture, "--model", model, "--to", "gguf", "--out", "x"], /--out is x, not a \.gguf/],
    [
      [fixture, "--model", model, "--to", "merged", "--dtype", "f16", "--out", "x"],
      /--dtype is for --to merged-gguf; a checkpoint is of the base's own types/,
    ],
    [
      [fixture, "--model", model, "--to", "merged", "--base", "tiny", "--out", "x"],
      /--base is for --to gguf; a merged model needs no other beside it/,
    ],
  ])("says how it is used: %j", (args, says) => {
    const { status, stderr } = run(...args);
    expect(status).toBe(1);
    expect(stderr).toMatch(says);
    expect(stderr).toContain("Usage: npm run export");
  });
});
