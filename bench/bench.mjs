// npm run bench: installs what it needs, the libraries that Graft is measured against too, then runs bench/run.ts.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { installBrowser, installPackages, requireNode, root } from "../scripts/install.mjs";

try {
  requireNode();
  installPackages();
  installPackages(import.meta.dirname);
  installBrowser();
  const args = [join(root, "scripts/run.mjs"), "bench/run.ts", ...process.argv.slice(2)];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  process.exitCode = status ?? 1;
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
