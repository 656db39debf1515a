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
const grid = () => panel().getByRole("treegrid", { name: "Modules and what trains in them" });
const row = (words: RegExp) => grid().getByRole("row", { name: words });
const tick = (name: string) => grid().getByRole("checkbox", { name: `Adapt ${name}`, exact: true });
const press = async (...keys: string[]) => {
  for (const key of keys) await session.page.keyboard.press(key);
};
/** What a screen reader calls the row that has the focus. */
const focused = () => grid().locator("tr:focus").getAttribute("aria-label");

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
  expect(await row(/^self_attn.q_proj in layers 0–5/).innerText()).toMatch(/r.2, α.16/);
  await field("Modules").fill(".*(q|v");
  await panel().getByText("0 modules").waitFor();
  await field("Modules").fill(".*(q|v)_proj");
  await panel().getByText("12 modules").waitFor();
  await session.says("Ready to train.");
});

it("is walked, folded and picked from with the keyboard alone, and writes the settings", async () => {
  await field("Modules").fill("q_proj, v_proj");
  await panel().getByText("12 modules").waitFor();
  await panel().getByRole("button", { name: "Show each layer" }).focus();
  await press("Tab");
  expect(await focused()).toMatch(/^model\.embed_tokens, not adapted, \+/);
  await press("End");
  expect(await focused()).toMatch(/^lm_head, not adapted/);
  await press("Home", "ArrowDown");
  expect(await focused()).toMatch(/^layers 0–5, partly adapted, 9,216 values, 144\.0 KiB$/);
  const layers = row(/^layers 0–5/);
  const shown = await grid().getByRole("row").count();
  await press("ArrowLeft");
  expect(await layers.getAttribute("aria-expanded")).toBe("false");
  expect(await focused()).toMatch(/^layers 0–5, partly adapted, q_proj, v_proj.r.2/);
  await press("ArrowRight", "ArrowRight");
  expect(await layers.getAttribute("aria-expanded")).toBe("true");
  expect(await grid().getByRole("row").count()).toBe(shown);
  expect(await focused()).toMatch(/^self_attn in layers 0–5, partly adapted/);
  await press("ArrowRight", "ArrowDown");
  expect(await focused()).toMatch(/^self_attn\.k_proj in layers 0–5, not adapted, \+/);
  const key = row(/^self_attn\.k_proj/);
  expect([await key.getAttribute("aria-level"), await key.getAttribute("aria-selected")]).toEqual([
    ...["3", "false"],
  ]);
  await press("Space");
  await panel().getByText("18 modules").waitFor();
  expect(await key.getAttribute("aria-selected")).toBe("true");
  expect(await field("Modules").inputValue()).toBe("q_proj, k_proj, v_proj");
  await press("ArrowLeft");
  expect(await focused()).toMatch(/^self_attn in layers 0–5, partly/);
  expect(await tick("self_attn in layers 0–5").evaluate((box) => box.matches(":indeterminate"))).toBe(true);
  await press("Space");
  await panel().getByText("24 modules").waitFor();
  expect(await tick("self_attn in layers 0–5").isChecked()).toBe(true);
  await session.says("Ready to train.");
});

it("keeps the focus in the tree as layers part and come together", async () => {
  await panel().getByRole("button", { name: "Show each layer" }).press("Enter");
  await tick("layer 5").click();
  await panel().getByText("20 modules").waitFor();
  expect(await focused()).toMatch(/^layer 5, not adapted/);
  expect(await tick("layer 5").isChecked()).toBe(false);
  await session.page.getByText("Advanced", { exact: true }).click();
  expect(await field("layers_to_transform").inputValue()).toBe("0, 1, 2, 3, 4");
  await panel().getByRole("button", { name: "Put layers that are alike together" }).press("Enter");
  await row(/^layers 0–4/).waitFor();
  await row(/^layer 5, not adapted/).focus();
  await press("Space");
  await panel().getByText("24 modules").waitFor();
  expect(await focused()).toMatch(/^layers 0–5, partly adapted/);
});

it("tells a setting's faults once: beside it, or above the modules where it is folded away", async () => {
  await session.button("Use what is recommended").click();
  await field("modules_to_save").fill("nrm");
  await field("requires_grad").fill("mdl");
  // With the remedy behind it: where the run is refused the two stand apart.
  const ofModule = /"nrm" matches no module of the model\. The nearest name is/;
  const ofParameter = /"mdl" matches the whole name of no parameter of the base model\. The nearest/;
  const { page } = session;
  await page.getByText(ofParameter).first().waitFor();
  expect([await page.getByText(ofModule).count(), await page.getByText(ofParameter).count()]).toEqual([1, 1]);
  const told = panel().getByRole("list", { name: "What is wrong with the choice of modules" });
  expect(await told.count()).toBe(0);
  await page.getByText("Advanced", { exact: true }).click();
  await told.getByText(ofModule).waitFor();
  await told.getByText(ofParameter).waitFor();
  expect(await field("requires_grad").isVisible()).toBe(false);
  await page.getByText("Advanced", { exact: true }).click();
  await told.waitFor({ state: "hidden" });
  await field("modules_to_save").fill("");
  await field("requires_grad").fill("");
  await page.getByText(ofModule).waitFor({ state: "hidden" });
  await page.getByText(ofParameter).waitFor({ state: "hidden" });
});

it("shows what an adapter brings along", async () => {
  const { model, adapter, run } = filesOf("gpt2_gelu");
  await session.choose({ model, adapter, run });
  await panel().getByText("What the adapter that you go on from trains.").waitFor();
  expect(await tick("attn.c_attn in layers 0–1").isDisabled()).toBe(true);
  expect(await grid().getAttribute("aria-readonly")).toBe("true");
  expect(session.complaints).toEqual([]);
});
