// Finds a Chromium and starts it with WebGPU on the software driver, so that a test sees the same GPU everywhere.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { browserFolders } from "./gpu-env.mjs";

export const browserRemedy =
  "Install Chromium or Chrome (Debian, as root: apt-get install chromium libvulkan1; anywhere: " +
  "npx playwright-core install chromium, which may ask for system libraries), or name one in GRAFT_BROWSER.";

const flags = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** @returns {string[]} */
function candidates() {
  const { env } = process;
  if (process.platform === "darwin") {
    const apps = ["/Applications", join(homedir(), "Applications")];
    const names = ["Google Chrome", "Chromium", "Microsoft Edge"];
    const installed = apps.flatMap((app) =>
      names.map((name) => join(app, `${name}.app/Contents/MacOS/${name}`)),
    );
    return [...installed, ...downloaded()];
  }
  if (process.platform === "win32") {
    const roots = [env.PROGRAMFILES, env["PROGRAMFILES(X86)"], env.LOCALAPPDATA].filter(
      (root) => root !== undefined,
    );
    const files = ["Google/Chrome/Application/chrome.exe", "Chromium/Application/chrome.exe"];
    files.push("Microsoft/Edge/Application/msedge.exe");
    return [...roots.flatMap((root) => files.map((file) => join(root, file))), ...downloaded()];
  }
  const names = ["chromium", "google-chrome-stable", "google-chrome", "chromium-browser", "microsoft-edge"];
  const folders = (env.PATH ?? "").split(delimiter).filter(Boolean);
  const onPath = names.flatMap((name) => folders.map((folder) => join(folder, name)));
  const inFolders = browserFolders().flatMap((folder) => [join(folder, "chrome"), join(folder, "chromium")]);
  return [...onPath, ...inFolders, ...downloaded()];
}

/** The browser that playwright-core would download, where it has done so; needs the installed packages. */
function downloaded() {
  try {
    return [createRequire(import.meta.url)("playwright-core").chromium.executablePath()];
  } catch {
    return [];
  }
}

/** The path of a Chromium or Chrome, or undefined. @returns {string | undefined} */
export function findBrowser() {
  const stated = process.env.GRAFT_BROWSER;
  if (stated) {
    if (existsSync(stated)) return stated;
    throw new Error(`GRAFT_BROWSER names ${stated}, which is not there. Correct it or leave it unset.`);
  }
  return candidates().find((path) => existsSync(path));
}

/**
 * A headless browser to close when done.
 * @param {import("playwright-core").LaunchOptions} [options]
 */
export async function launchBrowser(options = {}) {
  const executablePath = findBrowser();
  if (executablePath === undefined) throw new Error(`No Chromium or Chrome was found. ${browserRemedy}`);
  const { chromium } = await import("playwright-core");
  return chromium.launch({
    executablePath,
    headless: true,
    ...options,
    args: [...flags, ...(options.args ?? [])],
  });
}
