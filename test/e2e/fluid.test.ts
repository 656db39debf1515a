/** The page answers at once, whatever a run reports. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { longestTask, timesLonger } from "./longestTask.ts";
import { newPage } from "./newPage.ts";

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
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
  rmSync(built, { recursive: true });
});

async function open(steps: number, perBatch: number): Promise<Page> {
  const page = await newPage(browser);
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
    let page!: Page;
    const longestOf = async (steps: number, perBatch: number) => {
      await page?.close();
      page = await open(steps, perBatch);
      return longestOfRun(page);
    };
    const times = await timesLonger(
      () => longestOf(FEW, 1),
      () => longestOf(STEPS, PER_BATCH),
      MOST_TIMES,
    );
    expect(times).toBeLessThan(MOST_TIMES);
    expect(await page.getByLabel("Figures").innerText()).toContain("100,000 of 100,000");
    await page.locator("[data-drawn=true] canvas").waitFor();
    // The curve is there: the smoothed line shows in many of the columns, where no held-out point covers it.
    const inked = () =>
      page.locator(".chart canvas").evaluate((canvas: HTMLCanvasElement) => {
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d")!.getImageData(0, 0, width, height);
        const columns = new Set<number>();
        for (let i = 0; i < data.length; i += 4) {
          if (data[i + 3]! > 200 && data[i + 1]! > data[i]! + 60) columns.add((i / 4) % width);
        }
        return columns.size / width;
      });
    await expect.poll(inked).toBeGreaterThan(0.4);
    await page.close();
  });

  it("would be told of a long task", async () => {
    const page = await open(10, 1);
    const usual = await longestOfRun(page);
    // In a task of the page's own: what a test evaluates is none. It is work and not time, of which a busy machine
    // gives the page a part only.
    const work = () =>
      page.evaluate(
        () =>
          new Promise<number>((resolve) => {
            setTimeout(() => {
              let state = 1;
              for (let i = 0; i < 5e8; i++) state = Math.imul(state, 48_271) ^ i;
              resolve(state);
            }, 0);
          }),
      );
    const longest = await longestTask(browser, page, work);
    console.info(`Longest task: ${usual} ms with 10 steps, ${longest} ms where it is made long`);
    expect(longest / usual).toBeGreaterThan(MOST_TIMES);
    await page.close();
  });
});
