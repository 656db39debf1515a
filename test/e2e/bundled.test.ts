/** A person opens the page, presses Train, and watches: the bundled model, on data that comes with the page. */
import { readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Request } from "playwright-core";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { figure, type } from "./demo.ts";
import { holdScoringUntilStopped } from "./held.ts";
import { TrainPage } from "./trainPage.ts";

/** Stands in what is trained on and in what is asked, and must be in nothing that is sent. */
const CANARY = "zanzibarquetzal";
const NET_LOG = join(tmpdir(), `graft-net-${process.pid}.json`);

let browser: Browser;
let session: TrainPage;
const requests: Request[] = [];

beforeAll(async () => {
  // Chromium's own record of everything that its network part does, whoever asked for it, with bodies.
  browser = await launchBrowser({ args: [`--log-net-log=${NET_LOG}`, "--net-log-capture-mode=Everything"] });
  session = await TrainPage.open(browser);
  session.page.context().on("request", (request) => void requests.push(request));
});
afterAll(async () => {
  await browser?.close();
  rmSync(NET_LOG, { force: true });
});

it("trains on facts, and one of the user's own, from the open page to both models' answers", async () => {
  const { page } = session;
  await page.getByRole("button", { name: "Add a row of your own" }).click();
  await type(page, { "Question 1": `What is the capital of ${CANARY}?`, "Answer 1": `The ${CANARY}.` });
  // Few and large steps: that the loss falls is seen at once, what is learnt in full is for the slow test.
  await type(page, { Steps: 6, "Batch size": 4, "Learning rate": 0.01, Rank: 4, Modules: "q_proj, v_proj" });
  await page.getByText("Advanced", { exact: true }).click();
  await type(page, { warmup_steps: 0, eval_steps: 6 });
  for (const prompt of ["Japan", "Kenya"]) {
    await page.getByRole("button", { name: new RegExp(`^Remove: .*${prompt}`) }).click();
  }
  await session.says("Ready to train.");
  await holdScoringUntilStopped(await session.worker);
  await session.button("Train").click();
  await session.says(/^Done: all 6 steps/);

  const [now, before] = (await figure(page, "Held-out loss")).split(" from ").map(Number);
  expect(before).toBeGreaterThan(4);
  expect(now).toBeLessThan(before! - 0.1);
  for (const name of ["Tokens a second", "Learning rate", "Gradient norm", "Elapsed"]) {
    expect(await figure(page, name), name).toMatch(/\d/);
  }
  await page.locator("[data-drawn=true] canvas").waitFor();

  const answers = page.getByRole("table", { name: "Answers" }).locator("tbody td");
  await session.button("Stop scoring").click();
  await page.getByRole("button", { name: /^Score/ }).waitFor();
  // Scoring begins once both models have answered.
  for (const said of await answers.allInnerTexts()) expect(said).not.toMatch(/^[—…]$/);
  expect(session.complaints).toEqual([]);
});

it("measures as much memory as it said it would take", async () => {
  const words = await session.page.locator("dd", { hasText: "estimated" }).innerText();
  const [, estimated, measured] = /^(\S+ \S+) estimated, (\S+ \S+) measured/.exec(words) ?? [];
  expect(estimated).toMatch(/MiB$/);
  expect(measured).toBe(estimated);
});

it("answers a question of one's own, sampled, both models with one seed and the same again", async () => {
  const { page } = session;
  await page.getByRole("radio", { name: "sampled" }).click();
  await page.getByRole("button", { name: /^Remove: .*France/ }).click();
  const answers = page.getByRole("table", { name: "Answers" }).locator("tbody td");
  const ask = async () => {
    await session.button("Ask").click();
    // Until then it stops what is being answered.
    await session.button("Ask").waitFor();
    return answers.allInnerTexts();
  };
  await page.getByLabel("Your own question").fill(`Who is the ${CANARY}?`);
  const first = await ask();
  expect(first).toHaveLength(2);
  expect(first.every((text) => text.length > 1)).toBe(true);
  expect(await ask()).toEqual(first);
  await page.getByLabel("Seed", { exact: true }).fill("2");
  await session.says(/sampled at temperature 0.8 with seed 1. Settings have changed since: ask again.$/);
  expect(await ask()).not.toEqual(first);
  expect(await page.getByText("Settings have changed since").count()).toBe(0);
});

it("gives the adapter as a zip that says what made it", async () => {
  const { name, files, metrics } = await session.download();
  expect(name).toBe("graft-toy-lora.zip");
  // The held-out losses stand between those of the steps.
  expect(metrics.filter((report) => "loss" in report)).toHaveLength(6);
  expect(metrics.map((report) => report.step)).toEqual([0, 1, 2, 3, 4, 5, 6, 6]);
  expect(JSON.parse(Buffer.from(files["adapter_config.json"]!).toString())).toMatchObject({
    r: 4,
    lora_alpha: 16,
  });
});

it("sends nothing anywhere in all of this but requests for the page's own files", async () => {
  const own = new URL(inject("siteUrl")).origin;
  // The control: what is sent is seen, by both records.
  await session.page.evaluate(() =>
    fetch("/favicon.ico?control=quokkaquokka", { method: "POST", body: "wombatwombat" }),
  );
  const sent = requests.map((request) => `${request.method()} ${request.url()} ${request.postData() ?? ""}`);
  expect(sent.some((line) => line.includes("quokkaquokka") && line.includes("wombatwombat"))).toBe(true);
  for (const line of sent) expect(line).not.toContain(CANARY);

  await browser.close();
  const log = readFileSync(NET_LOG, "utf8");
  // Chromium's own business (updates, accounts) is on record too, and is begun by no origin.
  const byPage = requestsOf(log).filter(({ initiator }) => initiator === own);
  expect(byPage.some(({ url }) => url.includes("quokkaquokka"))).toBe(true);
  expect(byPage.some(({ url }) => url.endsWith("/model/model.safetensors"))).toBe(true);
  expect([...new Set(byPage.map(({ url }) => new URL(url).origin))]).toEqual([own]);
  // Bodies are written in base64, at any of three offsets.
  const encoded = (text: string) =>
    [0, 1, 2].map((pad) =>
      Buffer.from("\0".repeat(pad) + text)
        .toString("base64")
        .slice(4, -4),
    );
  const holds = (text: string) => log.includes(text) || encoded(text).some((part) => log.includes(part));
  expect(holds("wombatwombat")).toBe(true);
  expect(holds(CANARY)).toBe(false);
});

/** What was asked for, and by whom. */
function requestsOf(log: string): { url: string; initiator: string }[] {
  // One event a line; what begins a request has both.
  return log.split("\n").flatMap((line) => {
    const initiator = /"initiator":"([^"]*)"/.exec(line)?.[1];
    const url = /"url":"([^"]*)"/.exec(line)?.[1];
    return initiator !== undefined && url !== undefined ? [{ initiator, url }] : [];
  });
}
