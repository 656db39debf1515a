// npm start: installs, builds, serves and opens the page, on a machine that has only Node.
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { installPackages, requireNode, root } from "./install.mjs";

/** Opens the address in the user's browser, where there is a display; the address is printed in any case. */
function open(/** @type {string} */ address) {
  const { platform, env } = process;
  if (platform === "linux" && !env.DISPLAY && !env.WAYLAND_DISPLAY) return;
  const [command, args] =
    platform === "darwin"
      ? ["open", [address]]
      : platform === "win32"
        ? ["cmd", ["/c", "start", "", address]]
        : ["xdg-open", [address]];
  const child = spawn(command, args, { detached: true, stdio: "ignore" });
  child.on("error", () => {});
  child.unref();
}

async function start() {
  requireNode();
  installPackages();
  const vite = join(root, "node_modules/vite/bin/vite.js");
  const built = spawnSync(process.execPath, [vite, "build", "--logLevel", "warn"], {
    cwd: root,
    stdio: "inherit",
  });
  if (built.status !== 0) throw new Error("The page could not be built; the reason stands above.");
  // Imported only now: until npm ci has run there is no Vite.
  const { preview } = await import("vite");
  const server = await preview({ root, configFile: join(root, "vite.config.ts"), logLevel: "warn" });
  const address = server.resolvedUrls?.local[0];
  if (address === undefined) throw new Error("The server has no address on this machine.");
  console.log(`Graft is at ${address} (Ctrl-C ends it).`);
  open(address);
}

start().catch((error) => {
  console.error(`error: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
