/** The page answers at once, whatever a run reports. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import react from "@vitejs/plugin-react";
import type { Browser, Page } from "playwright-core";
import { build, type PreviewServer, preview } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";

const STEPS = 100_000;
/** Reports come twenty times a second; so many steps at once let all of them come in ten seconds. */
const PER_BATCH = 500;
/** The longest that a task of the page's main thread may take. */
const LONGEST_MS = 50;

interface Task {
  readonly startMs: number;
  readonly ms: number;
}

const built = mkdtempSync(join(tmpdir(), "graft-replay-"));
let server: PreviewServer;
let browser: Browser;

beforeAll(async () => {
  const root = join(import.meta.dirname, "replay");
  const common = { root, configFile: false as const, logLevel: "error" as const, plugins: [react()] };
  await build({
    ...common,
    mode: "production",
    define: { "process.env.NODE_ENV": '"production"' },
    build: { outDir: built, emptyOutDir: true, target: "es2023" },
  });
  server = await preview({ ...common, build: { outDir: built } });
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
  await page.evaluate(() => {
    const long: { startMs: number; ms: number }[] = [];
    Object.assign(globalThis, { longTasks: long });
    new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries())
        long.push({ startMs: startTime, ms: duration });
    }).observe({ type: "longtask" });
  });
  return page;
}

/** The tasks that took longer than 50 ms: the browser tells of no others. */
async function longTasks(page: Page): Promise<Task[]> {
  // They are told a moment after they end.
  await page.waitForTimeout(300);
  return page.evaluate(() => (globalThis as unknown as { longTasks: Task[] }).longTasks);
}

describe("a recorded run of 100 000 steps", () => {
  it("is drawn and counted without a task over 50 ms, and is as quick with all of it drawn", async () => {
    const page = await open(STEPS, PER_BATCH);
    await page.getByRole("button", { name: "Train", exact: true }).click();
    await page.getByRole("status").filter({ hasText: /^Done/ }).waitFor();
    expect(await page.getByLabel("Figures").innerText()).toContain("100,000 of 100,000");
    await page.locator("[data-drawn=true] canvas").waitFor();
    expect((await longTasks(page)).filter(({ ms }) => ms > LONGEST_MS)).toEqual([]);
    // The curve is there: its smoothed line crosses the canvas from edge to edge.
    const inked = await page.locator(".chart canvas").evaluate((canvas: HTMLCanvasElement) => {
      const { width, height } = canvas;
      const { data } = canvas.getContext("2d")!.getImageData(0, 0, width, height);
      const columns = new Set<number>();
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3]! > 200 && data[i + 1]! > data[i]! + 60) columns.add((i / 4) % width);
      }
      return columns.size / width;
    });
    expect(inked).toBeGreaterThan(0.8);
    await page.close();
  });

  it("would be told of a long task", async () => {
    const page = await open(10, 1);
    await page.evaluate(() => {
      const until = performance.now() + 120;
      while (performance.now() < until);
    });
    expect((await longTasks(page)).some(({ ms }) => ms > LONGEST_MS)).toBe(true);
    await page.close();
  });
});
