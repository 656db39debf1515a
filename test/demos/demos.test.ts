/** The page's promise, data set by data set: what it recommends reaches the goal, and the zip is for PEFT to open. */
import { mkdirSync, writeFileSync } from "node:fs";
import { zipSync } from "fflate";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { BUNDLED_SETS, reachesGoal } from "../../src/data/bundled.ts";
import { chooseSet, figure, scores, share } from "../e2e/demo.ts";
import { TrainPage } from "../e2e/trainPage.ts";

const OUT = "out/demos";
/** On a software GPU and a busy machine. */
const RUN_MS = 60 * 60_000;

const asked = (process.env.GRAFT_DEMOS ?? "").split(" ").filter((id) => id !== "");
const sets = BUNDLED_SETS.filter(({ id }) => asked.length === 0 || asked.includes(id));

let browser: Browser;
beforeAll(async () => {
  mkdirSync(OUT, { recursive: true });
  browser = await launchBrowser();
});
afterAll(() => browser?.close());

it.each(sets)("$id: $title", { timeout: 2 * RUN_MS }, async (set) => {
  const session = await TrainPage.open(browser);
  const { page } = session;
  page.setDefaultTimeout(RUN_MS);
  await chooseSet(page, set.title);
  await session.says("Ready to train.");
  await session.button("Train").click();
  await session.says(/^Done: all/);
  const { files } = await session.download();
  writeFileSync(`${OUT}/${set.id}.zip`, zipSync(files, { level: 0 }));
  console.log(`${set.id}: ${await figure(page, "Elapsed")}, loss ${await figure(page, "Loss")}`);

  if (set.kind === "chat") await session.button("Score again").waitFor();
  const found = await scores(page);
  for (const check of set.checks) {
    const title = set.metric === "loss" ? "Held-out loss, nats a token" : check.title;
    const { base = "", tuned = "" } = found.get(title) ?? {};
    console.log(`${set.id}, ${check.title}: ${base} → ${tuned}`);
    const number = set.metric === "loss" ? Number.parseFloat : share;
    expect(reachesGoal(set, number(base), number(tuned)), `${check.title}: ${base} → ${tuned}`).toBe(true);
    // What was known before is no gain.
    if (set.metric === "exact-match") expect(share(base)).toBeLessThan(0.05);
  }
  expect(session.complaints).toEqual([]);
  await page.close();
});
