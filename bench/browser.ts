/** Builds the bench's page, serves it and opens it in a headless Chromium. */
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { build, preview } from "vite";
import { launchBrowser } from "../scripts/browser.mjs";

const root = fileURLToPath(new URL("../", import.meta.url));
const outDir = fileURLToPath(new URL("dist", import.meta.url));

// Together these give the page a clock of 5 µs instead of 100.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export interface BenchBrowser {
  readonly page: Page;
  readonly version: string;
  /** CPU time of the GPU's process so far, in seconds: on a software driver, the work itself. */
  gpuCpuSeconds(): Promise<number>;
  close(): Promise<void>;
}

async function buildPage(): Promise<void> {
  await build({
    root,
    configFile: false,
    logLevel: "error",
    publicDir: false,
    build: {
      target: "es2023",
      outDir,
      emptyOutDir: true,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 4096,
      rolldownOptions: {
        input: fileURLToPath(new URL("index.html", import.meta.url)),
        // TensorFlow.js registers its gradients in modules that claim to do nothing on import.
        treeshake: { annotations: false, moduleSideEffects: true },
      },
    },
  });
}

export async function openBench(hardware: boolean): Promise<BenchBrowser> {
  await buildPage();
  const server = await preview({
    root,
    configFile: false,
    logLevel: "warn",
    build: { outDir },
    preview: { host: "127.0.0.1", port: 0, headers },
  });
  const args = hardware
    ? // The last of a switch counts: this takes the choice of the software driver back.
      ["--use-webgpu-adapter=default", "--enable-features=Vulkan", "--ignore-gpu-blocklist"]
    : [];
  const browser = await launchBrowser({
    args: [...args, "--disable-dawn-features=timestamp_quantization"],
  });
  const devtools = await browser.newBrowserCDPSession();
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  page.on("pageerror", (error) => console.error(error));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") console.error(`[page] ${message.text()}`);
  });
  await page.goto(`${server.resolvedUrls!.local[0]!}bench/index.html`);
  await page.waitForFunction("globalThis.bench !== undefined");
  return {
    page,
    version: browser.version(),
    async gpuCpuSeconds() {
      const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
      return processInfo.find(({ type }) => type === "GPU")?.cpuTime ?? Number.NaN;
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}
