import type { Browser, BrowserContext, Page } from "playwright-core";

/** A page with patience: on a busy machine a software device takes long, and what comes in the end is no fault. */
export async function newPage(browser: Browser | BrowserContext): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(240_000);
  const slow = process.env.GRAFT_SLOW;
  if (slow) {
    const protocol = await page.context().newCDPSession(page);
    await protocol.send("Emulation.setCPUThrottlingRate", { rate: Number(slow) });
  }
  return page;
}
