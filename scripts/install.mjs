// Brings what the other scripts need: the npm packages, and a browser for the tests. Node's own modules only.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { browserRemedy, findBrowser } from "./browser.mjs";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Vite's own floor, read from nowhere: this must be known before anything is installed. */
export function requireNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  throw new Error(`Graft needs Node 20.19 or newer, this is ${version}. Install it from https://nodejs.org.`);
}

/**
 * Whether node_modules is what package-lock.json asks for. Their times say nothing: git writes the one, npm the other,
 * in either order.
 */
export function packagesAreCurrent(folder = root) {
  const installed = join(folder, "node_modules/.package-lock.json");
  if (!existsSync(installed)) return false;
  const wanted = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8")).packages;
  const present = JSON.parse(readFileSync(installed, "utf8")).packages;
  // Optional ones are those of other platforms, mostly; the own entry "" is no package.
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === "" || optional || present[path]?.version === version,
  );
}

export function installPackages(folder = root) {
  if (packagesAreCurrent(folder)) return;
  console.log(`Installing packages (npm ci${folder === root ? "" : ` in ${folder}`})`);
  // npm says where it is to the scripts it runs; started as `node scripts/…` we look for it in the path.
  const npm = process.env.npm_execpath;
  const [command, args] = npm ? [process.execPath, [npm]] : ["npm", []];
  const shell = !npm && process.platform === "win32";
  execFileSync(command, [...args, "ci", "--no-audit", "--no-fund"], { cwd: folder, stdio: "inherit", shell });
}

/**
 * A package may install a stand-in that only says how to get the browser (Ubuntu's chromium-browser).
 * @param {string} path
 */
function runs(path) {
  if (process.platform === "win32") return true;
  return spawnSync(path, ["--version"], { stdio: "ignore", timeout: 30_000 }).status === 0;
}

function workingBrowser() {
  const path = findBrowser();
  return path !== undefined && runs(path) ? path : undefined;
}

/** The path of a browser that runs; installs one where there is none, or says what to do. */
export function installBrowser() {
  const present = workingBrowser();
  if (present) return present;
  const isRoot = process.getuid?.() === 0;
  if (isRoot && existsSync("/usr/bin/apt-get")) {
    console.log("Installing Chromium (apt-get)");
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const apt = (/** @type {string[]} */ ...args) =>
      spawnSync("apt-get", args, { env, stdio: "inherit" }).status === 0;
    if (apt("update", "-q") && apt("install", "-qy", "--no-install-recommends", "chromium", "libvulkan1")) {
      const installed = workingBrowser();
      if (installed) return installed;
    }
  }
  console.log("Installing Chromium (playwright-core)");
  const cli = join(root, "node_modules/playwright-core/cli.js");
  const withLibraries = isRoot && process.platform === "linux" ? ["--with-deps"] : [];
  spawnSync(process.execPath, [cli, "install", ...withLibraries, "chromium"], {
    cwd: root,
    stdio: "inherit",
  });
  const installed = workingBrowser();
  if (installed) return installed;
  throw new Error(`The tests need a browser, and none could be found or installed. ${browserRemedy}`);
}
