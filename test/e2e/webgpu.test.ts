import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { newPage } from "./newPage.ts";
import { probeWorker } from "./probe.ts";

describe("the built page in Chromium", () => {
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    browser = await launchBrowser();
    page = await newPage(browser);
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    await page.goto(inject("siteUrl"));
  });
  afterAll(() => browser?.close());

  it("shows itself without a complaint in the console", async () => {
    await page.waitForSelector("h1");
    expect(complaints).toEqual([]);
  });

  it("has the software GPU in the page", async () => {
    const architecture = await page.evaluate(
      async () => (await navigator.gpu.requestAdapter())?.info.architecture,
    );
    expect(architecture).toBe("swiftshader");
  });

  it("has the software GPU in a dedicated worker", async () => {
    expect((await probeWorker(page, "probe-worker.js")).architecture).toBe("swiftshader");
  });
});
