/** The page answers at once, whatever a run reports. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { longestTask } from "./longestTask.ts";

const STEPS = 100_000;
/** Reports come twenty times a second; so many steps at once let all of them come in ten seconds. */
const PER_BATCH = 500;
/** A run that a page has no trouble with: one second of one step at a time. */
const FEW = 20;
/** As much longer the longest task may be: how fast the machine is, and what it does beside, says nothing of the page. */
const MOST_TIMES = 3;

const built = mkdtempSync(join(tmpdir(), "graft-replay-"));
let server: PreviewServer;
let browser: Browser;

beforeAll(async () => {
  const root = join(import.meta.dirname, "replay");
  // Not in this process: vitest sets NODE_ENV, which would put React's development build into the page.
  const { NODE_ENV: _, ...env } = process.env;
  const given = ["build", root, "--outDir", built, "--emptyOutDir", "--logLevel", "error"];
  execFileSync(process.execPath, ["node_modules/vite/bin/vite.js", ...given], { env, stdio: "inherit" });
  server = await preview({ root, configFile: false, logLevel: "error", build: { outDir: built } });
  browser = await launchBrowser();
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await server?.close();
  rmSync(built, { recursive: true });
});

async function open(steps: number, perBatch: number): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`${server.resolvedUrls!.local[0]!}?steps=${steps}&perBatch=${perBatch}`);
  await page.getByRole("status").filter({ hasText: "Ready to train." }).waitFor();
  // What the page takes to appear is no matter of the run.
  await page.waitForTimeout(500);
  return page;
}

const longestOfRun = (page: Page) =>
  longestTask(browser, page, async () => {
    await page.getByRole("button", { name: "Train", exact: true }).click();
    await page.getByRole("status").filter({ hasText: /^Done/ }).waitFor();
  });

describe("a recorded run of 100 000 steps", () => {
  it("is drawn and counted in tasks as short as those of twenty steps", async () => {
    const few = await open(FEW, 1);
    const usual = await longestOfRun(few);
    await few.close();
    const page = await open(STEPS, PER_BATCH);
    const longest = await longestOfRun(page);
    console.info(`Longest task: ${usual} ms with ${FEW} steps, ${longest} ms with ${STEPS}`);
    expect(longest / usual).toBeLessThan(MOST_TIMES);
    expect(await page.getByLabel("Figures").innerText()).toContain("100,000 of 100,000");
    await page.locator("[data-drawn=true] canvas").waitFor();
    // The curve is there: the smoothed line shows in many of the columns, where no held-out point covers it.
    const inked = await page.locator(".chart canvas").evaluate((canvas: HTMLCanvasElement) => {
      const { width, height } = canvas;
      const { data } = canvas.getContext("2d")!.getImageData(0, 0, width, height);
      const columns = new Set<number>();
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3]! > 200 && data[i + 1]! > data[i]! + 60) columns.add((i / 4) % width);
      }
      return columns.size / width;
    });
    expect(inked).toBeGreaterThan(0.4);
    await page.close();
  });

  it("would be told of a long task", async () => {
    const page = await open(10, 1);
    const usual = await longestOfRun(page);
    // In a task of the page's own: what a test evaluates is none.
    const wait = () =>
      page.evaluate(
        (lengthMs) =>
          new Promise<void>((resolve) => {
            setTimeout(() => {
              const until = performance.now() + lengthMs;
              while (performance.now() < until);
              resolve();
            }, 0);
          }),
        3 * MOST_TIMES * usual,
      );
    expect((await longestTask(browser, page, wait)) / usual).toBeGreaterThan(MOST_TIMES);
    await page.close();
  });
});
