/** What axe-core finds wrong for people who hear the page, use keys, or see little contrast: nothing, in both themes. */
import { createRequire } from "node:module";
import type { AxeResults, run } from "axe-core";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { type } from "./demo.ts";
import { filesOf, TrainPage } from "./trainPage.ts";

let browser: Browser;
let session: TrainPage;

beforeAll(async () => {
  browser = await launchBrowser();
  session = await TrainPage.open(browser);
  // As a script of the browser's own: the page's policy lets no other run.
  await session.page.addInitScript({ path: createRequire(import.meta.url).resolve("axe-core") });
  await session.page.reload();
  await session.says("Ready to train.");
});
afterAll(() => browser?.close());

/** In the page: which colours it has, and how much of it is still on its way to them. */
function lookOf() {
  return {
    colorScheme: document.documentElement.style.colorScheme,
    changes: document.getAnimations().length,
  };
}

/** Each rule that is broken, and where. */
async function faults(): Promise<string[]> {
  const found: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    await session.page.emulateMedia({ colorScheme });
    // The page hears of it a moment later, and some colours change over another.
    await expect.poll(() => session.page.evaluate(lookOf)).toEqual({ colorScheme, changes: 0 });
    const { violations } = await session.page.evaluate(() => {
      const { axe } = globalThis as unknown as { axe: { run: typeof run } };
      return axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
      }) as Promise<AxeResults>;
    });
    for (const { id, nodes } of violations)
      for (const { html, failureSummary } of nodes)
        found.push(`${colorScheme}, ${id}: ${html}\n${failureSummary}`);
  }
  return found;
}

it("finds no fault with settings and modules", async () => {
  await session.page.getByRole("treegrid").waitFor();
  await session.page.getByText("Advanced", { exact: true }).click();
  await session.page.getByRole("textbox", { name: "Modules", exact: true }).fill("q_proj, v_prj");
  await session.page.getByText('"v_prj" matches no module').first().waitFor();
  expect(await faults()).toEqual([]);
});

it("finds none with a run that is done, and with its exports", async () => {
  await session.button("Use what is recommended").click();
  await type(session.page, { Steps: 1, "Batch size": 2, Modules: "q_proj, v_proj" });
  await session.train();
  await session.says(/^Done/);
  await session.page.getByText(/^All .* tensors that train/).click();
  expect(await faults()).toEqual([]);
  await session.button("Other forms…").click();
  const form = session.page.getByRole("region", { name: "GGUF adapter" });
  await form.getByText("How to load it").click();
  await form.getByRole("button", { name: /^Download/ }).click();
  await form.getByText(/^Read back/).waitFor();
  expect(await faults()).toEqual([]);
  await session.page.keyboard.press("Escape");
  expect(await session.button("Other forms…").evaluate((button) => button === document.activeElement)).toBe(
    true,
  );
});

it("finds none with adapters: one that fits, looked into, and one that does not", async () => {
  await session.view("Adapters");
  expect(await faults()).toEqual([]);
  await session.button("Add the adapter trained here").click();
  await session.page.getByText("How far it takes each weight").click();
  await session.page.getByRole("table", { name: "How far it takes each weight" }).waitFor();
  await session.page.getByText("Tensors", { exact: true }).click();
  await session.page.getByRole("button", { name: "Layer 0" }).click();
  await session.page.getByLabel(/^Adapter folder/).setInputFiles(filesOf("llama_all_linear").adapter);
  await session.page.getByRole("alert").waitFor();
  expect(await faults()).toEqual([]);
  expect(session.complaints).toEqual([]);
});
