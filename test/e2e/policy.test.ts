import type { Browser, Page } from "playwright-core";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { probeWorker } from "./probe.ts";
import { fixtures } from "./site.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser?.close());

/** The same promises hold for the built page and for the one that the development server makes. */
function promises(open: () => Promise<Page>): void {
  it("leaves the training worker no way to the network", async () => {
    const page = await open();
    const report = await probeWorker(page, "train-worker-probe.js");
    expect(report.architecture).toBe("swiftshader");
    expect(report.fetch.reached).toBe(false);
    expect(report.socket).toEqual({ reached: false, what: "Error: connect-src" });
    expect(report.worker.reached).toBe(false);
    await page.close();
  });

  it("lets the same script do all of it under another name, so the test above can fail", async () => {
    const page = await open();
    const report = await probeWorker(page, "probe-worker.js");
    expect(report.fetch).toEqual({ reached: true, what: 200 });
    expect(report.socket.reached).toBe(true);
    expect(report.worker.reached).toBe(true);
    await page.close();
  });

  it("lets the page reach its own origin and no other", async () => {
    const page = await open();
    const [own, other] = await page.evaluate(async () => {
      const violated = new Promise<string>((resolve) => {
        document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
      });
      const status = (await fetch("/")).status;
      await fetch("http://192.0.2.1/", { mode: "no-cors" }).catch(() => undefined);
      return [status, await violated] as const;
    });
    expect(own).toBe(200);
    expect(other).toBe("connect-src");
    await page.close();
  });

  it("runs no script that was put into the page", async () => {
    const page = await open();
    const ran = await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "document.documentElement.dataset.ran = 'yes'";
      document.head.append(script);
      return document.documentElement.dataset.ran ?? "no";
    });
    expect(ran).toBe("no");
    await page.close();
  });
}

describe("the built page", () => {
  promises(async () => {
    const page = await browser.newPage();
    await page.goto(inject("siteUrl"));
    return page;
  });
});

describe("the development server's page", () => {
  let server: ViteDevServer;
  beforeAll(async () => {
    // A cache of its own: one that is shared with a running `vite` would be rewritten under it.
    server = await createServer({
      plugins: [fixtures],
      cacheDir: "node_modules/.vite-test",
      logLevel: "warn",
    });
    await server.listen();
  });
  afterAll(() => server?.close());

  promises(async () => {
    const page = await browser.newPage();
    await page.goto(server.resolvedUrls!.local[0]!);
    return page;
  });

  it("renders, and takes hot updates, without a violation", async () => {
    const page = await browser.newPage();
    const lines: string[] = [];
    page.on("console", (message) => lines.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => lines.push(`error: ${error.message}`));
    const connected = page.waitForEvent("console", (message) => message.text().includes("[vite] connected"));
    await page.goto(server.resolvedUrls!.local[0]!);
    await page.waitForSelector("h1");
    await connected;
    expect(lines.filter((line) => line.startsWith("error"))).toEqual([]);
    await page.close();
  });
});
