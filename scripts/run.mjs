// node scripts/run.mjs FILE ARGS… : runs a TypeScript entry of this project in Node, straight from its source, with
// a GPU driver found. Vite's module runner reads the sources, so `import.meta.glob` means here what it means in the page.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { findGpuEnvironment } from "./gpu-env.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * The Vulkan loader reads its variables as the process starts, so a process with them takes over.
 * @param {Record<string, string>} variables
 */
function runInChild(variables) {
  const env = { ...process.env, ...variables, GRAFT_GPU_FOUND: "1" };
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    env,
    stdio: "inherit",
  });
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    // A terminal sends Ctrl-C to both processes; the child decides what it means.
    process.on(signal, () => signal !== "SIGINT" && child.kill(signal));
  }
  child.on("error", fail);
  child.on("exit", (code, signal) => {
    process.exitCode = signal === null ? (code ?? 1) : 128 + constants.signals[signal];
  });
}

/** @param {string[]} args */
async function runHere([file, ...args]) {
  if (file === undefined) throw new Error("usage: node scripts/run.mjs FILE ARGS…");
  // npm changes into the project before it runs a script; paths in the arguments are the user's.
  if (process.cwd() === root && process.env.INIT_CWD) process.chdir(process.env.INIT_CWD);
  const entry = existsSync(resolve(root, file)) ? resolve(root, file) : resolve(file);
  if (!existsSync(entry)) throw new Error(`There is no ${entry} to run.`);
  process.argv = [process.execPath, entry, ...args];

  const { createServer, isRunnableDevEnvironment } = await import("vite");
  const server = await createServer({
    root,
    configFile: false,
    appType: "custom",
    logLevel: "error",
    optimizeDeps: { noDiscovery: true },
    server: { middlewareMode: true, ws: false, hmr: false, watch: null },
  });
  // Never closed: it watches and listens to nothing, and while it lives stacks name the lines of the sources.
  const { ssr } = server.environments;
  if (!ssr || !isRunnableDevEnvironment(ssr))
    throw new Error("Vite has no environment that runs modules in Node.");
  await ssr.runner.import(entry);
}

/**
 * An expected failure is told in one line; anything else is a defect of ours and keeps its stack.
 * @param {unknown} thrown
 */
function fail(thrown) {
  process.exitCode = 1;
  const expected = thrown instanceof Error && "code" in thrown && "remedy" in thrown;
  console.error(expected ? `error: ${thrown.message}` : thrown);
}

process.on("uncaughtException", (thrown) => {
  fail(thrown);
  process.exit();
});
const { variables } = process.env.GRAFT_GPU_FOUND ? { variables: {} } : findGpuEnvironment();
if (Object.keys(variables).length > 0) runInChild(variables);
else await runHere(process.argv.slice(2)).catch(fail);
