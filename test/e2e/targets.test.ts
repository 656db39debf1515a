/** A person types what is to train, and picks it in the tree of modules; nothing is trained. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { filesOf, TrainPage } from "./trainPage.ts";

let browser: Browser;
let session: TrainPage;

beforeAll(async () => {
  browser = await launchBrowser();
  session = await TrainPage.open(browser);
  await session.says("Ready to train.");
});
afterAll(() => browser?.close());

const panel = () => session.page.getByRole("region", { name: "What trains" });
const field = (name: string) => session.page.getByRole("textbox", { name, exact: true });
const row = (name: string) =>
  panel()
    .getByRole("row")
    .filter({ has: tick(name) });
const tick = (name: string) => session.page.getByRole("checkbox", { name: `Adapt ${name}`, exact: true });

it("shows what the settings come to as they are typed", async () => {
  await panel().getByText("42 modules, 175,104 values").waitFor();
  await field("Rank").fill("2");
  await panel().getByText("42 modules, 43,776 values").waitFor();
  await field("Modules").fill("q_proj, v_prj");
  await panel().getByText("6 modules").waitFor();
  // What a listed name failed to match stands below its field.
  await session.page
    .getByText('"v_prj" matches no module of the model. The nearest name is "v_proj".')
    .first()
    .waitFor();
  expect(await row("self_attn.q_proj").innerText()).toMatch(/r.2, α.16/);
  await field("Modules").fill(".*(q|v");
  await panel().getByText("0 modules").waitFor();
  await field("Modules").fill(".*(q|v)_proj");
  await panel().getByText("12 modules").waitFor();
  await session.says("Ready to train.");
});

it("picks modules and layers with the keyboard, and writes them as settings", async () => {
  await tick("self_attn.k_proj").focus();
  await session.page.keyboard.press("Space");
  await panel().getByText("18 modules").waitFor();
  expect(await field("Modules").inputValue()).toBe("q_proj, k_proj, v_proj");
  await panel().getByRole("button", { name: "Show each layer" }).press("Enter");
  await tick("layer 5").focus();
  await session.page.keyboard.press("Space");
  await panel().getByText("15 modules").waitFor();
  expect(await tick("layer 5").isChecked()).toBe(false);
  await session.page.getByText("Advanced", { exact: true }).click();
  expect(await field("layers_to_transform").inputValue()).toBe("0, 1, 2, 3, 4");
  await panel().getByRole("button", { name: "layer 5" }).press("Enter");
  await panel().getByRole("button", { name: "Put layers that are alike together" }).first().click();
  await panel().getByRole("button", { name: "layers 0–4" }).waitFor();
  await session.says("Ready to train.");
});

it("tells faults of settings that are folded away, and what an adapter brings along", async () => {
  await session.button("Use what is recommended").click();
  await field("modules_to_save").fill("nrm");
  await panel().getByText('"nrm" matches no module').waitFor();
  const { model, adapter, run } = filesOf("gpt2_gelu");
  await session.choose({ model, adapter, run });
  await panel().getByText("What the adapter that you go on from trains.").waitFor();
  expect(await tick("attn.c_attn").isDisabled()).toBe(true);
  expect(session.complaints).toEqual([]);
});
