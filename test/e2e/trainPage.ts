/** The page as a person uses it: files are chosen, buttons pressed, the zip is downloaded. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import type { Browser, Page, Worker } from "playwright-core";
import { inject } from "vitest";
import type { StepReport } from "../../src/worker/api.ts";
import { DUMPS, parityCase } from "../train/parityRun.ts";
import { newPage } from "./newPage.ts";

export interface RunFiles {
  readonly model: string;
  readonly data: string;
  readonly run: string;
  readonly adapter: string;
}

/** The files of a run that PEFT took before. */
export function filesOf(name: string): RunFiles {
  const { base, data } = parityCase(name);
  return {
    model: `${DUMPS}/bases/${base}`,
    data: `${DUMPS}/data/${data}`,
    run: `${DUMPS}/runs/${name}/run.json`,
    adapter: `${DUMPS}/runs/${name}/initial`,
  };
}

/** A run file like another but for some keys of `train`; `remove` takes it away again. */
export function changedRun(path: string, train: Record<string, unknown>): { path: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), "graft-run-"));
  const changed = join(folder, "run.json");
  const run = JSON.parse(readFileSync(path, "utf8")) as { train: Record<string, unknown> };
  writeFileSync(changed, JSON.stringify({ ...run, train: { ...run.train, ...train } }));
  return { path: changed, remove: () => rmSync(folder, { recursive: true }) };
}

export class TrainPage {
  readonly page: Page;
  /** The training worker, once it has started. */
  readonly worker: Promise<Worker>;
  /** Errors in the console. */
  readonly complaints: string[] = [];
  private asksNothing = false;

  private constructor(page: Page) {
    this.page = page;
    this.worker = page.waitForEvent("worker", (worker) => worker.url().includes("train-worker"));
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(error.message));
  }

  static async open(browser: Browser, url = inject("siteUrl")): Promise<TrainPage> {
    const opened = new TrainPage(await newPage(browser));
    await opened.page.goto(url);
    return opened;
  }

  async choose({ model, data, run, adapter }: Partial<RunFiles>): Promise<void> {
    if (model) await this.page.getByLabel(/^Model folder/).setInputFiles(model);
    if (data) {
      await this.page.getByRole("radio", { name: "Your own" }).click();
      await this.page.getByLabel(/^Data file/).setInputFiles(data);
    }
    if (adapter) await this.page.getByLabel(/^Adapter folder/).setInputFiles(adapter);
    if (run) await this.page.getByLabel(/^Run file/).setInputFiles(run);
  }

  button(name: string) {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** To another view: until it is there, a field found by its name may be the other's. */
  async view(name: string): Promise<void> {
    await this.page.getByRole("tab", { name }).click();
    await this.page.getByRole("tabpanel", { name }).waitFor();
  }

  /** Waits until the page says this; an alert ends the wait. */
  async says(words: string | RegExp): Promise<void> {
    const said = this.page.getByRole("status").filter({ hasText: words });
    const alert = this.page.getByRole("alert");
    const isSaid = await said
      .or(alert)
      .first()
      .waitFor()
      .then(
        () => true,
        () => false,
      );
    if (isSaid && (await said.count()) > 0) return;
    const found = await this.page.locator("[role=status], [role=alert]").allInnerTexts();
    throw new Error(`Waited for ${words}, the page says: ${found.join(" | ")}`);
  }

  async train(): Promise<void> {
    await this.says("Ready to train.");
    await this.askNothing();
    await this.button("Train").click();
  }

  /** Takes the prompts away, once and for all runs: after them nothing is asked. */
  async askNothing(): Promise<void> {
    if (this.asksNothing) return;
    this.asksNothing = true;
    const answers = this.page.getByRole("table", { name: "Answers" });
    const prompts = answers.getByRole("button", { name: /^Remove: / });
    // They come from the first rows of the data, a moment after these were chosen.
    await prompts.first().waitFor();
    while ((await prompts.count()) > 0) await prompts.first().click();
  }

  async download(): Promise<{ files: Record<string, Uint8Array>; metrics: StepReport[]; name: string }> {
    const downloads = this.page.waitForEvent("download");
    await this.button("Download adapter").click();
    const download = await downloads;
    const files = unzipSync(readFileSync(await download.path()));
    return { files, metrics: parseMetrics(files["metrics.jsonl"]!), name: download.suggestedFilename() };
  }

  /** From the chosen files to what is downloaded. */
  async wholeRun(files: RunFiles) {
    await this.choose(files);
    await this.train();
    await this.says(/^Done/);
    return this.download();
  }
}

/** The lines of steps and evaluations; that of the audit is left out. */
export function parseMetrics(bytes: Uint8Array): StepReport[] {
  const lines = new TextDecoder().decode(bytes).trim().split("\n");
  return lines.map((line) => JSON.parse(line) as StepReport).filter((report) => !("audit" in report));
}

/** The largest |a − b| / |b| over the steps. */
export function worstLoss(found: readonly StepReport[], wanted: readonly StepReport[]): number {
  return Math.max(
    ...wanted.map(({ loss }, i) => Math.abs((found[i]?.loss ?? Number.NaN) - loss) / Math.abs(loss)),
  );
}
