import type { Browser, Page, Worker } from "playwright-core";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { newPage } from "./newPage.ts";
import { probeWorker } from "./probe.ts";
import { fixtures } from "./site.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser?.close());

/** Every way that a worker has to the network; as texts, for they are compiled in the worker. */
const WAYS = {
  "fetch, own origin": "fetch(location.origin)",
  "fetch, another": 'fetch("http://192.0.2.1/", { mode: "no-cors" })',
  XMLHttpRequest:
    'const request = new XMLHttpRequest(); request.open("GET", location.origin); request.send()',
  WebSocket: 'new WebSocket(location.origin.replace("http", "ws"))',
  EventSource: "new EventSource(location.origin)",
  "import, another origin": 'await import("http://192.0.2.1/a.js")',
};

/** Which directive forbids a worker to do this, told by the browser before anything is sent. */
function forbiddenBy(worker: Worker, way: string): Promise<string> {
  return worker.evaluate(`(async () => {
    const forbidden = new Promise((resolve) => addEventListener(
      "securitypolicyviolation", (event) => resolve(event.effectiveDirective), { once: true }));
    const waited = new Promise((resolve) => setTimeout(resolve, 60_000, "was not forbidden"));
    // Some ways throw, some reject, some tell it by an event: what counts is the violation.
    (async () => { ${way} })().catch(() => {});
    return Promise.race([forbidden, waited]);
  })()`);
}

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

  it("binds the page's own training worker to that policy", async () => {
    const page = await open();
    const isTraining = (worker: Worker) => /\/train-worker[^/]*$/.test(new URL(worker.url()).pathname);
    const worker = page.workers().find(isTraining) ?? (await page.waitForEvent("worker", isTraining));
    const header = await page.evaluate(
      async (url) => (await fetch(url)).headers.get("content-security-policy"),
      worker.url(),
    );
    expect(header).toContain("connect-src 'none'");
    for (const [name, way] of Object.entries(WAYS)) {
      const directive = name.startsWith("import") ? "script-src-elem" : "connect-src";
      expect(await forbiddenBy(worker, way), name).toBe(directive);
    }
    await page.close();
  });

  it("binds a worker that the training worker makes to that policy, too, and lets it make no other", async () => {
    const page = await open();
    const isTraining = (worker: Worker) => /\/train-worker[^/]*$/.test(new URL(worker.url()).pathname);
    const worker = page.workers().find(isTraining) ?? (await page.waitForEvent("worker", isTraining));
    const inner = `
      const tried = (name, what) => Promise.resolve().then(what).then(() => name + " went", () => name + " did not");
      addEventListener("securitypolicyviolation", ({ effectiveDirective }) => postMessage(effectiveDirective));
      tried("fetch", () => fetch(${JSON.stringify(new URL(page.url()).origin)})).then(postMessage);`;
    const heard = await worker.evaluate(`new Promise((resolve) => {
      const heard = [];
      const script = new Blob([${JSON.stringify(inner)}], { type: "text/javascript" });
      const inner = new Worker(URL.createObjectURL(script), { type: "module" });
      inner.onmessage = ({ data }) => heard.push(data) === 2 && resolve(heard.sort());
      inner.onerror = () => resolve("did not start");
      setTimeout(resolve, 60_000, heard);
    })`);
    expect(heard).toEqual(["connect-src", "fetch did not"]);
    expect(await forbiddenBy(worker, 'new Worker("/assets/other.js", { type: "module" })')).toBe(
      "worker-src",
    );
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
    const page = await newPage(browser);
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
    const page = await newPage(browser);
    await page.goto(server.resolvedUrls!.local[0]!);
    return page;
  });

  it("renders, and takes hot updates, without a violation", async () => {
    const page = await newPage(browser);
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
