import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packagesAreCurrent, requireNode } from "../../scripts/install.mjs";

const asked = {
  "": { version: "0.1.0" },
  "node_modules/vite": { version: "8.3.8" },
  "node_modules/fsevents": { version: "2.3.3", optional: true },
};

function project(wanted: object, present?: object): string {
  const folder = mkdtempSync(join(tmpdir(), "graft-install-"));
  writeFileSync(join(folder, "package-lock.json"), JSON.stringify({ packages: wanted }));
  if (present) {
    mkdirSync(join(folder, "node_modules"));
    writeFileSync(join(folder, "node_modules/.package-lock.json"), JSON.stringify({ packages: present }));
  }
  return folder;
}

describe("what is installed", () => {
  it("is current when each package asked for is there, but for those of other systems", () => {
    expect(packagesAreCurrent(project(asked, { "node_modules/vite": { version: "8.3.8" } }))).toBe(true);
  });
  it("is not when nothing was installed, a package is missing, or its version is another", () => {
    expect(packagesAreCurrent(project(asked))).toBe(false);
    expect(packagesAreCurrent(project(asked, {}))).toBe(false);
    expect(packagesAreCurrent(project(asked, { "node_modules/vite": { version: "8.3.7" } }))).toBe(false);
  });
});

describe("the Node it runs on", () => {
  it.each(["20.19.0", "20.20.2", "22.0.0", "24.1.0"])("may be %s", (version) => {
    expect(() => requireNode(version)).not.toThrow();
  });
  it.each(["18.20.0", "20.18.3"])("may not be %s", (version) => {
    expect(() => requireNode(version)).toThrow(`Graft needs Node 20.19 or newer, this is ${version}.`);
  });
});
