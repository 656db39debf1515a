import { expect, it } from "vitest";
import { statedLicence } from "../../src/formats/licence.ts";
import { arraySource, mapFileSet } from "../../src/formats/sources.ts";

function licenceOf(files: Record<string, string>) {
  const sources = Object.entries(files).map(
    ([name, text]) => [name, arraySource(new TextEncoder().encode(text), name)] as const,
  );
  return statedLicence(mapFileSet("base", new Map(sources)));
}

it.each([
  [{ "README.md": "---\nlanguage: en\nlicense: apache-2.0\n---\n# A model" }, "apache-2.0"],
  [{ "README.md": '---\r\nlicense: "mit"\r\n---\r\n' }, "mit"],
  [
    { "README.md": "---\nlanguage: en\n---\nlicense: mit", LICENSE: "\n\n   Apache License\n  Version 2.0" },
    "Apache License",
  ],
  [{ "LICENSE.md": "# The licence of this model\n" }, "The licence of this model"],
  [{ "README.md": "# license: mit" }, undefined],
  [{ "config.json": "{}" }, undefined],
])("finds what a folder states: %j", async (files, licence) => {
  expect(await licenceOf(files as Record<string, string>)).toBe(licence);
});
