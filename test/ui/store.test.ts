import { readFileSync } from "node:fs";
import { posix } from "node:path";
import { describe, expect, it } from "vitest";
import { bytes, duration, measured, percent, shortNumber } from "../../src/ui/format.ts";
import { importsOf } from "../floors/imports.ts";

/** The packages that a file needs, by itself or through others of the project. */
function packagesOf(path: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  if (seen.has(path)) return packages;
  seen.add(path);
  for (const name of importsOf(path, readFileSync(path, "utf8"))) {
    const inner = name.startsWith(".") ? posix.join(posix.dirname(path), name) : undefined;
    if (inner === undefined) packages.add(name);
    else for (const found of packagesOf(inner, seen)) packages.add(found);
  }
  return packages;
}

describe("the store", () => {
  it("knows no React", () => {
    const packages = [...packagesOf("src/ui/store.ts")];
    expect(packages).toContain("zustand/vanilla");
    expect(packages.filter((name) => /react/.test(name) || name === "zustand")).toEqual([]);
    expect([...packagesOf("src/ui/App.tsx")]).toContain("react");
  });
});

describe("the page's numbers", () => {
  it("shows what was not measured as a dash", () => {
    expect(measured(undefined, String)).toBe("—");
    expect(measured(Number.NaN, String)).toBe("—");
    expect(measured(0, String)).toBe("0");
  });

  it("are short and right", () => {
    expect(bytes(1023)).toBe("1023 B");
    expect(bytes(1536)).toBe("1.5 KiB");
    expect(bytes(5 * 2 ** 30)).toBe("5.0 GiB");
    expect(shortNumber(0.0002)).toBe("0.0002");
    expect(shortNumber(1.23456e-7)).toBe("1.23e-7");
    expect(percent(1, 8)).toBe("12.5 %");
    expect([8300, 80_000, 7_500_000].map(duration)).toEqual(["8.3 s", "1 min 20 s", "2 h 5 min"]);
  });
});
