/** A person trains, opens what was downloaded, and asks with it: at strengths, without layers, two at once. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Locator } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { DUMPS } from "../train/parityRun.ts";
import { holdWeightsUntilStopped } from "./held.ts";
import { changedRun, filesOf, TrainPage } from "./trainPage.ts";

const folder = mkdtempSync(join(tmpdir(), "graft-adapters-"));
const zip = join(folder, "mixed.zip");

let browser: Browser;
let session: TrainPage;
/** What the run's own models said. */
let base: string[];
let tuned: string[];

beforeAll(async () => {
  browser = await launchBrowser();
  session = await TrainPage.open(browser);
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

const table = () => session.page.getByRole("table", { name: "Answers" });
const card = (label: string) => session.page.getByRole("region", { name: label, exact: true });
const strength = (label: string) => session.page.getByRole("slider", { name: `Strength: ${label}` });

/** Both columns, once nothing is being answered. */
async function said(): Promise<{ base: string[]; tuned: string[] }> {
  await session.button("Ask").waitFor();
  const rows = await table().locator("tbody tr").all();
  const cells = (at: number) => Promise.all(rows.map((row) => row.getByRole("cell").nth(at).innerText()));
  return { base: await cells(0), tuned: await cells(1) };
}

async function ask(): Promise<{ base: string[]; tuned: string[] }> {
  await session.button("Ask").click();
  return said();
}

/** By the keyboard: from 0 upwards in steps of 5 %. */
async function setTo(slider: Locator, percent: number): Promise<void> {
  await slider.focus();
  if (percent === 200) await session.page.keyboard.press("End");
  else await session.page.keyboard.press("Home");
  for (let at = 0; percent < 200 && at < percent; at += 5) await session.page.keyboard.press("ArrowRight");
}

it("answers at any strength: at 0 % the run's model is its base", async () => {
  const { model, data, run } = filesOf("llama_all_linear");
  // So fast that the answers change.
  const fast = changedRun(run, { max_steps: 4, learning_rate: 0.1 });
  await session.choose({ model, data, run: fast.path });
  await session.says("Ready to train.");
  await session.button("Train").click();
  await session.says(/^Done/);
  fast.remove();
  // B alone moves in the first step: A waits for it.
  await session.page.getByText(/^After step 1, 14 of 28 tensors have moved; nothing else did/).waitFor();
  // It is asked by itself, a moment after the end.
  await session.page.getByRole("columnheader", { name: "Tuned, 4 steps" }).waitFor();
  ({ base, tuned } = await said());
  expect(tuned).not.toEqual(base);
  const slider = session.page.getByRole("slider", { name: /^Strength of the adapter/ });
  await slider.focus();
  await session.page.keyboard.press("Home");
  await session.page.getByRole("columnheader", { name: /at 0 %$/ }).waitFor();
  expect((await said()).tuned).toEqual(base);
  const downloads = session.page.waitForEvent("download");
  await session.button("Download adapter").click();
  await (await downloads).saveAs(zip);
});

it("opens the zip that it made: at 100 % it answers as trained, at 0 % as the base", async () => {
  await session.view("Adapters");
  await session.page.getByLabel(/^Adapter files/).setInputFiles(zip);
  await card("mixed.zip").getByText("r 8, α 16 on 14 modules").waitFor();
  expect(await ask()).toEqual({ base, tuned });
  await setTo(strength("mixed.zip"), 0);
  expect((await ask()).tuned).toEqual(base);
  await setTo(strength("mixed.zip"), 200);
  expect((await ask()).tuned).not.toEqual(base);
});

it("leaves layers out", async () => {
  await setTo(strength("mixed.zip"), 100);
  await card("mixed.zip").getByRole("button", { name: "all off" }).click();
  expect((await ask()).tuned).toEqual(base);
  const layer = card("mixed.zip").getByRole("button", { name: "Layer 1" });
  expect(await layer.getAttribute("aria-pressed")).toBe("false");
  await card("mixed.zip").getByRole("button", { name: "all on" }).click();
  expect(await layer.getAttribute("aria-pressed")).toBe("true");
});

it("adds two up: half of it twice is all of it", async () => {
  await session.button("Add the adapter trained here").click();
  const other = "trained here, 4 steps";
  await card(other).getByText("r 8, α 16 on 14 modules").waitFor();
  await setTo(strength("mixed.zip"), 50);
  await setTo(strength(other), 50);
  await session.page.getByText(`“mixed.zip” at 50 % + “${other}” at 50 %`).waitFor();
  expect((await ask()).tuned).toEqual(tuned);
  await card(other).getByRole("button", { name: "Only this one" }).click();
  expect((await ask()).tuned).toEqual(tuned);
  await session.button(`Remove: ${other}`).click();
  await setTo(strength("mixed.zip"), 100);
});

it("tells how far it takes each weight, and what is wrong with what does not fit", async () => {
  await card("mixed.zip").getByText("How far it takes each weight").click();
  const changes = card("mixed.zip").getByRole("table", { name: "How far it takes each weight" });
  await changes.waitFor();
  expect(await changes.locator("tbody tr").count()).toBe(14);
  await card("mixed.zip").getByText("Settings", { exact: true }).click();
  const settings = card("mixed.zip").getByRole("table", { name: "Settings beyond PEFT's defaults" });
  await settings.getByRole("row", { name: "lora_alpha 16" }).waitFor();
  const whole = card("mixed.zip").locator("pre");
  expect(await whole.isVisible()).toBe(false);
  await card("mixed.zip").getByText("The whole adapter_config.json").click();
  expect(await whole.innerText()).toContain('"eva_config": null');
  await session.page
    .getByLabel(/^Adapter files/)
    .setInputFiles([{ name: "adapter_config.json", mimeType: "application/json", buffer: Buffer.from("{") }]);
  await card("chosen files").getByRole("alert").waitFor();
  await session.button("Remove: chosen files").click();
});

it("tells how far it is with what an adapter of PEFT's began as, stops, and opens it again", async () => {
  await holdWeightsUntilStopped(await session.worker);
  const folder = `${DUMPS}/runs/llama_pissa/final`;
  const files = ["adapter_config.json", "adapter_model.safetensors"].map((name) => `${folder}/${name}`);
  await session.page.getByLabel(/^Adapter files/).setInputFiles(files);
  const pissa = card("chosen files");
  await pissa.getByText("Decomposing the base's weights: 0 of 10").waitFor();
  await session.button("Stop: chosen files").click();
  await pissa.getByText("It was stopped before all was computed that it began as.").waitFor();
  await pissa.getByRole("button", { name: "Open it again" }).click();
  await pissa.getByRole("slider", { name: /^Strength/ }).waitFor();
  await session.button("Remove: chosen files").click();
});

it("trains on from it", async () => {
  await session.button("Train on from here").click();
  await session.says("Ready to train.");
  await session.page.getByText("Advanced", { exact: true }).click();
  await session.button("Remove: Adapter files").click();
  await session.page.getByText("What the adapter that you go on from trains.").waitFor({ state: "hidden" });
  const files = session.page.getByLabel(/^Adapter files/);
  const other = join(folder, "other.gguf");
  writeFileSync(other, "");
  await files.setInputFiles([zip, other]);
  await session.page.getByText("2 adapters were given; a run goes on from one.").waitFor();
  await files.setInputFiles(zip);
  await session.says("Ready to train.");
  await session.page.getByText("What the adapter that you go on from trains.").waitFor();
  expect(session.complaints).toEqual([]);
});
