// Where Dawn in Node finds a GPU: a real one, else the software driver (SwiftShader) that comes with Chromium.
// The Vulkan loader reads these variables when the process starts, so whoever needs the GPU in Node starts a
// process with them. Runs before anything is installed: Node's own modules only.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ICD_NAME = "vk_swiftshader_icd.json";
const LOADER_NAME = "libvulkan.so.1";

/**
 * @typedef {object} GpuEnvironment
 * @property {"native" | "stated" | "swiftshader" | "system-software" | "none"} source
 *   native: Dawn's own choice is a GPU; stated: the user's variables name a driver; swiftshader: Chromium's driver;
 *   system-software: a software driver of the system (lavapipe, WARP); none: nothing was found.
 * @property {Record<string, string>} variables  what to add to the environment of the process that uses Dawn
 */

/** Folders that browsers put their libraries in, most particular first. */
export function browserFolders(home = homedir(), env = process.env) {
  const folders = [
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/usr/lib64/chromium-browser",
    "/usr/lib64/chromium",
    "/opt/google/chrome",
    "/opt/google/chrome-beta",
    "/opt/google/chrome-unstable",
    "/opt/microsoft/msedge",
    "/opt/brave.com/brave",
    "/snap/chromium/current/usr/lib/chromium-browser",
    "/var/lib/flatpak/app/org.chromium.Chromium/current/active/files/chromium",
    "/var/lib/flatpak/app/com.google.Chrome/current/active/files/extra",
  ];
  // Playwright: <browsers>/chromium-1234/chrome-linux64; Puppeteer: <cache>/chrome/linux-1.2.3/chrome-linux64.
  const playwright = env.PLAYWRIGHT_BROWSERS_PATH ?? join(home, ".cache/ms-playwright");
  const puppeteer = env.PUPPETEER_CACHE_DIR ?? join(home, ".cache/puppeteer");
  for (const root of [playwright, join(puppeteer, "chrome"), join(puppeteer, "chrome-headless-shell")]) {
    for (const version of list(root).sort().reverse()) {
      for (const build of list(join(root, version))) folders.push(join(root, version, build));
    }
  }
  return folders;
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function list(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function hasSystemLoader() {
  const arch = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  const stated = (process.env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean);
  const usual = [`/usr/lib/${arch}`, `/lib/${arch}`, "/usr/lib64", "/lib64", "/usr/lib", "/usr/local/lib"];
  return [...stated, ...usual].some((folder) => existsSync(join(folder, LOADER_NAME)));
}

/**
 * Dawn reads no XDG_RUNTIME_DIR, but the window-system libraries it opens complain on stderr where it is unset.
 * @returns {Record<string, string>}
 */
function quiet() {
  return process.env.XDG_RUNTIME_DIR ? {} : { XDG_RUNTIME_DIR: tmpdir() };
}

/**
 * SwiftShader from the first browser folder that has it, with that folder's Vulkan loader if the system has none.
 * @param {string[]} folders
 * @param {boolean} systemLoader
 * @returns {Record<string, string> | undefined}
 */
export function swiftShaderVariables(folders = browserFolders(), systemLoader = hasSystemLoader()) {
  for (const folder of folders) {
    const icd = join(folder, ICD_NAME);
    if (!existsSync(icd)) continue;
    const variables = { VK_DRIVER_FILES: realpathSync(icd), VK_ICD_FILENAMES: realpathSync(icd) };
    if (systemLoader) return variables;
    if (!existsSync(join(folder, LOADER_NAME))) continue;
    const paths = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(":");
    return { ...variables, LD_LIBRARY_PATH: paths };
  }
  return undefined;
}

/**
 * Asks Dawn in a process of its own which adapter it would take; a driver that crashes cannot take us with it.
 * @param {Record<string, string>} variables
 * @returns {"gpu" | "software" | "none"}
 */
function probe(variables) {
  const source = `
    const { create, globals } = await import(process.argv[1]);
    Object.assign(globalThis, globals);
    const gpu = create([]);
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    console.log(adapter === null ? "none" : adapter.info.isFallbackAdapter ? "software" : "gpu");`;
  try {
    const dawn = createRequire(import.meta.url).resolve("webgpu");
    const answer = execFileSync(process.execPath, ["--input-type=module", "-e", source, dawn], {
      encoding: "utf8",
      env: { ...process.env, ...variables },
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 20_000,
    }).trim();
    return answer === "gpu" || answer === "software" ? answer : "none";
  } catch {
    return "none";
  }
}

function hasGpuNode() {
  const cards = list("/dev").some((name) => name === "dxg" || /^nvidia\d+$/.test(name));
  return cards || list("/dev/dri").some((name) => name.startsWith("renderD"));
}

/**
 * GRAFT_GPU=software skips a real GPU: the same driver everywhere, for comparing figures between machines.
 * @returns {GpuEnvironment}
 */
export function findGpuEnvironment() {
  // Metal and Direct3D are always there (Direct3D brings WARP in software), and neither reads any variable.
  if (process.platform !== "linux") return { source: "native", variables: {} };
  const stated = process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES;
  if (stated) {
    // A driver that the user names may still lack a loader: Chromium's lies beside its driver.
    const beside = dirname(stated);
    const borrow = !hasSystemLoader() && existsSync(join(beside, LOADER_NAME));
    return { source: "stated", variables: { ...quiet(), ...(borrow ? { LD_LIBRARY_PATH: beside } : {}) } };
  }
  // Without a device file there is no GPU to find, and the question costs a third of a second.
  if (process.env.GRAFT_GPU !== "software" && hasGpuNode() && probe(quiet()) === "gpu") {
    return { source: "native", variables: quiet() };
  }
  const swiftShader = swiftShaderVariables();
  if (swiftShader) return { source: "swiftshader", variables: { ...quiet(), ...swiftShader } };
  if (probe(quiet()) !== "none") return { source: "system-software", variables: quiet() };
  // Said once and for all: to ask Dawn again would only print each driver's reasons before ours.
  return { source: "none", variables: { GRAFT_GPU: "none" } };
}

// `node scripts/gpu-env.mjs` says what was found.
if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  console.log(JSON.stringify(findGpuEnvironment(), null, 2));
}
