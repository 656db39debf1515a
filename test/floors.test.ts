import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { floorViolations, importCircles, importsOf } from "./floors/imports.ts";

const root = join(import.meta.dirname, "..");
const sources = new Map(
  readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => `src/${name.replaceAll("\\", "/")}`)
    .map((path) => [path, readFileSync(join(root, path), "utf8")]),
);

describe("the sources", () => {
  it("import down only", () => {
    expect(sources.size).toBeGreaterThan(10);
    const violations = [...sources].flatMap(([path, source]) => floorViolations(path, source));
    expect(violations).toEqual([]);
  });

  it("do not need each other in circles", () => {
    expect(importCircles(sources)).toEqual([]);
  });
});

describe("the check of the floors", () => {
  it.each([
    ["src/gpu/a.ts", 'import { x } from "../base/errors.ts";'],
    ["src/graph/a.ts", 'import { x } from "./b.ts"; import type { Y } from "../gpu/device.ts";'],
    ["src/ui/a.tsx", 'import { useState } from "react"; import { wrap } from "comlink"; import "./a.css";'],
    ["src/ui/a.tsx", 'new Worker(new URL("../worker/train-worker.ts", import.meta.url));'],
    ["src/cli/a.ts", 'import { open } from "node:fs/promises"; import { create } from "webgpu";'],
    ["src/worker/a.ts", 'import { expose } from "comlink"; import { t } from "../train/loop.ts";'],
    ["src/train/a.ts", 'const address = new URL("../ui/x.ts", "http://elsewhere/");'],
  ])("lets %s say %s", (path, source) => {
    expect(floorViolations(path, source)).toEqual([]);
  });

  it.each([
    ["up", "src/graph/a.ts", 'import { x } from "../ops/add.ts";', "ops is above graph"],
    ["up, for a type", "src/gpu/a.ts", 'import type { X } from "../graph/value.ts";', "above"],
    ["up, for an import type", "src/gpu/a.ts", 'type X = import("../graph/value.ts").Value;', "above"],
    ["up, late", "src/train/a.ts", 'const x = await import("../worker/api.ts");', "above"],
    [
      "up, late, by template",
      "src/train/a.ts",
      "const x = await import(`../worker/api.ts`);",
      "running program",
    ],
    ["up, by re-export", "src/base/a.ts", 'export { x } from "../gpu/device.ts";', "above"],
    ["up, all of it", "src/base/a.ts", 'export * from "../gpu/device.ts";', "above"],
    ["up, as a worker", "src/train/a.ts", 'new URL("../worker/w.ts", import.meta.url);', "above"],
    ["up, from the root", "src/train/a.ts", 'import "/src/ui/main.tsx";', "above"],
    ["up, with a query", "src/lora/a.ts", 'import text from "../models/llama.ts?raw";', "above"],
    ["sideways", "src/data/a.ts", 'import { x } from "../formats/zip.ts";', "same floor"],
    ["sideways at the top", "src/ui/a.ts", 'import { x } from "../cli/files.ts";', "same floor"],
    ["out", "src/ops/a.ts", 'import { x } from "../../test/reference/add.ts";', "leaves src/"],
    ["Node in the browser", "src/train/a.ts", 'import { readFileSync } from "node:fs";', "Node's modules"],
    ["Node without its prefix", "src/ui/a.ts", 'import { join } from "path";', "Node's modules"],
    ["React below the page", "src/worker/a.ts", 'import { useState } from "react";', "only src/ui may"],
    ["React's parts", "src/train/a.ts", 'import { jsx } from "react/jsx-runtime";', "only src/ui may"],
    [
      "a store in the engine",
      "src/train/a.ts",
      'import { createStore } from "zustand/vanilla";',
      "only src/ui may",
    ],
    ["comlink in the engine", "src/train/a.ts", 'import { proxy } from "comlink";', "only src/worker"],
    ["Dawn in the engine", "src/gpu/a.ts", 'import { create } from "webgpu";', "only src/cli may"],
    ["a folder without a floor", "src/util/a.ts", "", "no floor"],
    ["a file without a folder", "src/a.ts", "", "no floor"],
  ])("catches %s", (_, path, source, reason) => {
    const said = () => {
      try {
        return floorViolations(path, source).join("\n");
      } catch (error) {
        return String(error);
      }
    };
    expect(said()).toContain(reason);
  });

  it("catches a circle, of types too", () => {
    const circle = [
      ["src/ui/a.ts", 'import { b } from "./b.tsx"; import { d } from "./d.ts";'],
      ["src/ui/b.tsx", 'import type { C } from "../worker/c.ts"; import { d } from "./d.ts";'],
      ["src/worker/c.ts", 'type A = import("../ui/a.ts").A;'],
      ["src/ui/d.ts", 'import { useState } from "react";'],
    ] as const;
    expect(importCircles(new Map(circle))).toEqual([
      "src/ui/a.ts → src/ui/b.tsx → src/worker/c.ts → src/ui/a.ts",
    ]);
  });

  it("does not take text or comments for imports", () => {
    expect(importsOf("a.ts", '// import "../ui/a.ts"\nconst s = \'import "../ui/a.ts"\';')).toEqual([]);
  });

  it("refuses a file that it cannot read", () => {
    expect(() => importsOf("a.ts", "import {{")).toThrow("does not parse");
  });
});
