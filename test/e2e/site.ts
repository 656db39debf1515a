/** Serves the built page for the tests in this folder, as `vite preview` does, with `fixtures/` beside it. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Plugin, preview } from "vite";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** Address of the built page, ends in "/". */
    siteUrl: string;
  }
}

const root = fileURLToPath(new URL("../../", import.meta.url));

/** One script under two names: what a worker may do depends on the name it is served by, and on nothing else. */
export const fixtures: Plugin = {
  name: "graft:fixtures",
  configureServer: (server) => void server.middlewares.use(serveProbe),
  configurePreviewServer: (server) => void server.middlewares.use(serveProbe),
};

const probe = join(root, "test/e2e/fixtures/worker-probe.js");

function serveProbe(
  request: { url?: string | undefined },
  response: { setHeader(name: string, value: string): unknown; end(body: Buffer): unknown },
  next: () => void,
): void {
  if (!/^\/fixtures\/(train-worker-probe|probe-worker)\.js(\?|$)/.test(request.url ?? "")) {
    next();
    return;
  }
  response.setHeader("Content-Type", "text/javascript");
  response.end(readFileSync(probe));
}

function newest(path: string): number {
  const entry = statSync(path, { throwIfNoEntry: false });
  if (!entry) return 0;
  if (!entry.isDirectory()) return entry.mtimeMs;
  return Math.max(entry.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

function buildIfStale(): void {
  const sources = ["src", "shaders", "public", "index.html", "vite.config.ts", "package-lock.json"];
  const built = join(root, "dist/index.html");
  const builtMs = existsSync(built) ? statSync(built).mtimeMs : 0;
  if (sources.every((name) => newest(join(root, name)) < builtMs)) return;
  // Not in this process: vitest sets NODE_ENV, which would put React's development build into the page.
  const { NODE_ENV: _, ...env } = process.env;
  execFileSync(process.execPath, ["node_modules/vite/bin/vite.js", "build", "--logLevel", "warn"], {
    cwd: root,
    env,
    stdio: "inherit",
  });
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  buildIfStale();
  const server = await preview({ root, plugins: [fixtures], logLevel: "warn" });
  project.provide("siteUrl", server.resolvedUrls!.local[0]!);
  return () => server.close();
}
