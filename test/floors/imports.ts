/** Reads which modules a source file imports and says which of them its floor does not allow. */
import { isBuiltin } from "node:module";
import { posix } from "node:path";
import { parseSync } from "vite";

/** Folders of src/ by floor, lowest first. Neighbours on a floor do not import each other; all may import base. */
const floors: readonly (readonly string[])[] = [
  ["gpu", "formats", "data"],
  ["graph"],
  ["ops"],
  ["lora"],
  ["models"],
  ["train"],
  ["worker"],
  ["ui", "cli"],
];

/** Packages that belong to some folders only; the rest of src/ must run where they are not. */
const reserved: readonly { packages: RegExp; folders: readonly string[]; why: string }[] = [
  { packages: /^(react|react-dom|zustand)(\/|$)/, folders: ["ui"], why: "the engine knows no page" },
  { packages: /^comlink(\/|$)/, folders: ["worker", "ui"], why: "the engine knows no worker" },
  { packages: /^webgpu(\/|$)/, folders: ["cli"], why: "Dawn is for Node; the engine is given its device" },
];

export function floorOf(folder: string): number {
  if (folder === "base") return -1;
  return floors.findIndex((folders) => folders.includes(folder));
}

/** All that a source file names as a module: imports, re-exports, import(), import types, workers by URL. */
export function importsOf(path: string, source: string): string[] {
  const { program, errors } = parseSync(path, source);
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]!.message}`);
  const found: string[] = [];
  walk(program, (node) => {
    switch (node.type) {
      case "ImportDeclaration":
      case "ExportNamedDeclaration":
      case "ExportAllDeclaration":
      case "ImportExpression":
      case "TSImportType":
        if (node.source) found.push(literal(path, node.source));
        break;
      case "NewExpression": {
        const [first, second] = node.arguments as Node[];
        const url =
          (node.callee as Node).name === "URL" && second && JSON.stringify(second).includes('"meta"');
        if (url && first) found.push(literal(path, first));
        break;
      }
    }
  });
  return found;
}

interface Node {
  type: string;
  [field: string]: unknown;
}

function walk(value: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(value)) {
    for (const item of value) walk(item, visit);
  } else if (typeof value === "object" && value !== null) {
    if ("type" in value && typeof value.type === "string") visit(value as Node);
    for (const child of Object.values(value)) walk(child, visit);
  }
}

function literal(path: string, node: unknown): string {
  const { value } = node as { value?: unknown };
  if (typeof value !== "string") throw new Error(`${path} imports what only a running program knows.`);
  return value;
}

/** What is wrong with the imports of one file; `path` is relative to the project, "src/graph/plan.ts". */
export function floorViolations(path: string, source: string): string[] {
  const [, folder, ...rest] = path.split("/") as [string, string, ...string[]];
  if (rest.length === 0 || (folder !== "base" && floorOf(folder) < 0)) {
    return [`${path} stands on no floor: src/ has base, ${floors.flat().join(", ")}.`];
  }
  return importsOf(path, source).flatMap((name) => {
    const reason =
      name.startsWith(".") || name.startsWith("/") ? inner(path, folder, name) : outer(folder, name);
    return reason ? [`${path} imports "${name}": ${reason}.`] : [];
  });
}

/** Files that need each other in a circle, as "a → b → a". `sources` is the text of each file by its path. */
export function importCircles(sources: ReadonlyMap<string, string>): string[] {
  const circles: string[] = [];
  const seen = new Set<string>();
  const visit = (path: string, way: readonly string[]): void => {
    const start = way.indexOf(path);
    if (start >= 0) circles.push([...way.slice(start), path].join(" → "));
    const source = sources.get(path);
    if (source === undefined || seen.has(path)) return;
    seen.add(path);
    for (const name of importsOf(path, source)) visit(targetOf(path, name), [...way, path]);
  };
  for (const path of sources.keys()) visit(path, []);
  return circles;
}

/** The path of a file that another names. */
function targetOf(path: string, name: string): string {
  const file = name.replace(/\?.*$/, "");
  return file.startsWith("/") ? file.slice(1) : posix.join(posix.dirname(path), file);
}

function inner(path: string, folder: string, name: string): string | undefined {
  const [top, wanted] = targetOf(path, name).split("/");
  if (top !== "src") return "it leaves src/";
  if (wanted === undefined || (wanted !== "base" && floorOf(wanted) < 0)) return "it stands on no floor";
  if (wanted === folder || wanted === "base") return undefined;
  if (floorOf(wanted) > floorOf(folder)) return `${wanted} is above ${folder}`;
  if (floorOf(wanted) === floorOf(folder)) return `${wanted} is on the same floor as ${folder}`;
  return undefined;
}

function outer(folder: string, name: string): string | undefined {
  if (isBuiltin(name) && folder !== "cli")
    return "the browser runs this folder, and Node's modules are not there";
  const rule = reserved.find(({ packages }) => packages.test(name));
  if (!rule || rule.folders.includes(folder)) return undefined;
  return `${rule.why}; only src/${rule.folders.join(", src/")} may`;
}
