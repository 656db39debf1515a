import { expect, it } from "vitest";
import { setShaderText, shaderText } from "../../src/gpu/shaders.ts";

it("knows every shader by its path without the ending", () => {
  expect(shaderText.size).toBeGreaterThan(0);
  for (const [name, text] of shaderText) {
    expect(name).toMatch(/^[a-z0-9_]+(\/[a-z0-9_]+)*$/);
    expect(text).toMatch(/\bfn\s/);
  }
  // A part, from a folder.
  expect([...shaderText.keys()].some((name) => name.startsWith("common/"))).toBe(true);
});

it("replaces a text and puts the former one back", () => {
  const [name, text] = [...shaderText][0]!;
  const restore = setShaderText(name, "fn broken() {}");
  expect(shaderText.get(name)).toBe("fn broken() {}");
  restore();
  expect(shaderText.get(name)).toBe(text);
});

it("replaces only what is there", () => {
  expect(() => setShaderText("no_such", "")).toThrow("There is no shaders/no_such.wgsl to replace. Known: ");
});
