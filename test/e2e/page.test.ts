/** What the page does beside a run that goes well. */
import { resolve } from "node:path";
import type { Browser, Page } from "playwright-core";
import { preview } from "vite";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { type } from "./demo.ts";
import { newPage } from "./newPage.ts";
import { changedRun, filesOf, TrainPage } from "./trainPage.ts";

const files = filesOf("gpt2_gelu");

async function alertOf(page: Page): Promise<{ message: string; remedy: string }> {
  const [message = "", remedy = ""] = await page.getByRole("alert").locator("p").allInnerTexts();
  return { message, remedy };
}

describe("with a GPU", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser?.close());

  it("takes a model folder that is dropped on its field", async () => {
    const session = await TrainPage.open(browser);
    const { page } = session;
    // By then nothing on the page moves any more.
    await session.says("Ready to train.");
    const field = page.locator("label", { hasText: "Model folder" });
    await field.scrollIntoViewIfNeeded();
    const { x, y } = (await field.boundingBox())!;
    const devtools = await page.context().newCDPSession(page);
    const data = { items: [], files: [resolve(files.model)], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"] as const) {
      await devtools.send("Input.dispatchDragEvent", { type, x: x + 20, y: y + 20, data });
    }
    await page.getByText("gpt2_gelu (5 files)").waitFor();
    await page.close();
  });

  it("can be used with the keyboard alone", async () => {
    const session = await TrainPage.open(browser);
    const { page } = session;
    const paths = [files.data, files.model];
    page.on("filechooser", (chooser) => void chooser.setFiles(paths.shift()!));
    const focused = () =>
      page.evaluate(() => {
        const { activeElement } = document;
        const label = activeElement instanceof HTMLInputElement ? activeElement.labels?.[0] : null;
        return (label ?? activeElement)?.textContent ?? "";
      });
    const tabTo = async (name: RegExp) => {
      for (let i = 0; i < 40 && !name.test(await focused()); i++) await page.keyboard.press("Tab");
      expect(await focused()).toMatch(name);
    };
    await page.getByText("Device:").waitFor();
    await tabTo(/^Capitals/);
    // One choice of several is one stop; arrows go round in it, backwards to the last.
    // Held until it is done, as a person does: the choice follows the focus only while the key is down.
    await page.keyboard.down("ArrowUp");
    await page.getByRole("radio", { name: "Your own", checked: true }).waitFor();
    await page.keyboard.up("ArrowUp");
    await tabTo(/^Data file/);
    await page.keyboard.press("Enter");
    await page.getByText("short.jsonl").waitFor();
    await tabTo(/^Model folder/);
    await page.keyboard.press("Enter");
    await page.getByText("gpt2_gelu (5 files)").waitFor();
    await session.says("Ready to train.");
    await tabTo(/^Train$/);
    await page.keyboard.press("Enter");
    await session.says(/^(Preparing|Training|Done)/);
    await page.close();
  });

  it("says what a data file should look like", async () => {
    const session = await TrainPage.open(browser);
    await session.choose({ model: files.model, data: `${files.model}/model.safetensors` });
    await session.page.getByRole("alert").waitFor();
    const { message, remedy } = await alertOf(session.page);
    expect(message).toContain("model.safetensors holds bytes that are no text");
    expect(message).toContain("Graft reads JSONL, JSON, CSV, TSV, Parquet and plain text.");
    expect(remedy).toContain("save it as UTF-8");
    await session.page.close();
  });

  it("says that the GPU was lost, offers nothing of that run, and trains again", async () => {
    const session = await TrainPage.open(browser);
    const { page } = session;
    const long = changedRun(files.run, { max_steps: 100_000 });
    await session.choose({ ...files, run: long.path });
    await session.train();
    await session.says("Training…");
    const devtools = await browser.newBrowserCDPSession();
    // The process that holds every page's GPU.
    await devtools.send("Browser.crashGpuProcess");
    // A command that failed with it may be told of before.
    await page
      .getByRole("alert")
      .getByText(/^The GPU was lost/)
      .waitFor();
    expect(await session.button("Download adapter").isDisabled()).toBe(true);
    await session.button("Try again").click();
    await session.says("Training…");
    await session.button("Stop").click();
    await session.says(/^Stopped after/);
    expect(await page.getByRole("alert").count()).toBe(0);
    long.remove();
    await page.close();
  });
});

describe("a tab that is closed in mid-run", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser?.close());

  it("is warned of, and said plainly on return, once; nothing of it is offered", async () => {
    const context = await browser.newContext();
    const page = await newPage(context);
    await page.goto(inject("siteUrl"));
    const status = page.getByRole("status");
    // So many that the run is under way however long the rest takes.
    await type(page, { Steps: 100_000 });
    await status.filter({ hasText: "Ready to train." }).waitFor();
    await page.getByRole("button", { name: "Train", exact: true }).click();
    await status.filter({ hasText: /Preparing|Training/ }).waitFor();

    // A second tab, while the first still trains: nothing is lost.
    const second = await newPage(context);
    await second.goto(inject("siteUrl"));
    await second.getByRole("status").filter({ hasText: "Ready to train." }).waitFor();
    expect(await second.getByText("its result is lost").count()).toBe(0);
    await second.close();

    const warned = page.waitForEvent("dialog");
    const closed = page.waitForEvent("close");
    await page.close({ runBeforeUnload: true });
    const dialog = await warned;
    expect(dialog.type()).toBe("beforeunload");
    await dialog.accept();
    await closed;

    const back = await newPage(context);
    await back.goto(inject("siteUrl"));
    const note = back.getByRole("note", { name: "Lost runs" });
    await note.waitFor();
    expect(await note.innerText()).toMatch(
      /“Capitals of sixty countries” was under way \(step \d+ of 100,000\)/,
    );
    expect(await back.getByRole("button", { name: "Download adapter" }).isDisabled()).toBe(true);
    await back.reload();
    await back.getByRole("status").filter({ hasText: "Ready to train." }).waitFor();
    expect(await note.count()).toBe(0);
    await context.close();
  });
});

describe("without a GPU", () => {
  let browser: Browser;
  afterAll(() => browser?.close());

  it("says that the browser offers none, and how to get it", async () => {
    browser = await launchBrowser({ args: ["--disable-gpu", "--disable-software-rasterizer"] });
    const page = await newPage(browser);
    await page.goto(inject("siteUrl"));
    await page.getByRole("alert").waitFor();
    const { message, remedy } = await alertOf(page);
    expect(message).toContain("offers no GPU");
    expect(remedy).toContain("hardware acceleration");
    await page.getByLabel(/^Model folder/).setInputFiles(files.model);
    await page.getByRole("radio", { name: "Your own" }).click();
    await page.getByLabel(/^Data file/).setInputFiles(files.data);
    expect(await page.getByRole("button", { name: "Train", exact: true }).isDisabled()).toBe(true);
    await browser.close();
  });

  it("says where the page came over a way that browsers do not trust", async () => {
    const server = await preview({ preview: { allowedHosts: ["graft.test"] }, logLevel: "warn" });
    browser = await launchBrowser({ args: ["--host-resolver-rules=MAP graft.test 127.0.0.1"] });
    const page = await newPage(browser);
    const address = new URL(server.resolvedUrls!.local[0]!);
    address.hostname = "graft.test";
    await page.goto(address.href);
    await page.getByRole("alert").waitFor();
    const { message, remedy } = await alertOf(page);
    expect(message).toContain(`${address.origin} did not`);
    expect(remedy).toContain("https");
    await server.close();
  });
});
