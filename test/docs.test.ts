/** What the documents name is there: pages and headings that they link to, files, commands. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import manifest from "../package.json" with { type: "json" };

const FOLDERS = ["bench", "docs", "reference", "scripts", "shaders", "src", "test"];

const files = FOLDERS.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).map((path) => join(folder, path)),
).filter((path) => !path.includes("node_modules"));

const documents = [...readdirSync("."), ...files].filter(
  (path) => path.endsWith(".md") && !path.startsWith("reference/dumps/"),
);

/** A heading's anchor, as GitHub makes it. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replace(/\s/g, "-");

const anchorsIn = (path: string): string[] =>
  [...readFileSync(path, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!));

/** Whether there is such a file or folder; a star or a word in capitals stands for any part of a name. */
const isThere = (name: string): boolean => {
  const pattern = name
    .replace(/[.+]/g, "\\$&")
    .replace(/\*+/g, "[^/]*")
    .replace(/(?<=\/)[A-Z]+$/, "[^/]*");
  const wanted = new RegExp(`^${pattern}(/|$)`);
  return files.some((path) => wanted.test(path));
};

describe.each(documents)("%s", (path) => {
  const text = readFileSync(path, "utf8");
  const code = [...text.matchAll(/```[\s\S]*?```|`[^`]+`/g)].map(([piece]) => piece);

  it("links to pages and headings that are there", () => {
    const broken = [...text.matchAll(/\]\(([^)\s]+)\)/g)].filter(([, target]) => {
      if (/^[a-z]+:/.test(target!)) return false;
      const [page, anchor] = target!.split("#");
      const found = page ? join(dirname(path), page) : path;
      return !existsSync(found) || (anchor !== undefined && !anchorsIn(found).includes(anchor));
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });

  it("names files that are there", () => {
    const name = new RegExp(`(?<![\\w/.-])(?:${FOLDERS.join("|")})/[\\w./*-]*[\\w*]`, "g");
    const missing = code.flatMap((piece) => piece.match(name) ?? []).filter((found) => !isThere(found));
    expect(missing).toEqual([]);
  });

  it("names what is in the files that it names", () => {
    const named = [
      ...text.matchAll(/`([\w.]+)`(?: \(| in )`((?:shaders|src|test)\/[\w./-]+\.(?:ts|wgsl))`/g),
    ];
    const missing = named.filter(
      ([, name, file]) => !readFileSync(file!, "utf8").includes(name!.split(".").at(-1)!),
    );
    expect(missing.map(([found]) => found)).toEqual([]);
  });

  it("names commands that are there", () => {
    const commands = [...code.join("\n").matchAll(/npm run ([\w:]+)/g)].map(([, command]) => command!);
    expect(commands.filter((command) => !(command in manifest.scripts))).toEqual([]);
  });
});

it("says of every library which version it is, and why it is here", () => {
  const page = readFileSync("docs/decisions/0006-libraries.md", "utf8");
  const rows = page.split("\n").filter((line) => line.startsWith("|"));
  const libraries = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  const missing = libraries.filter(
    ([name, version]) => !rows.some((row) => row.includes(`\`${name}\``) && row.includes(` ${version}`)),
  );
  expect(missing).toEqual([]);
});
