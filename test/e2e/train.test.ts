/** A person trains a model in the page, and the same again in Node. */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { DUMPS } from "../train/parityRun.ts";
import { changedRun, filesOf, parseMetrics, TrainPage, worstLoss } from "./trainPage.ts";

const NAME = "gpt2_gelu";
const files = filesOf(NAME);
const WEIGHTS = "adapter_model.safetensors";

let browser: Browser;
/** One page for all runs: its worker keeps its pipelines, and compiling is what takes time. */
let session: TrainPage;
let first: Awaited<ReturnType<TrainPage["wholeRun"]>>;
const temporary = mkdtempSync(join(tmpdir(), "graft-e2e-"));

beforeAll(async () => {
  browser = await launchBrowser();
  session = await TrainPage.open(browser);
});
afterAll(async () => {
  await browser?.close();
  rmSync(temporary, { recursive: true });
});

it("trains what was chosen, and the zip holds PEFT's losses", async () => {
  first = await session.wholeRun(files);
  expect(first.name).toBe("gpt2_gelu-lora.zip");
  expect(Object.keys(first.files).sort()).toEqual([
    "README.md",
    "adapter_config.json",
    WEIGHTS,
    "metrics.jsonl",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
  const wanted = parseMetrics(readFileSync(`${DUMPS}/runs/${NAME}/metrics.jsonl`));
  expect(first.metrics.map(({ step }) => step)).toEqual(wanted.map(({ step }) => step));
  expect(worstLoss(first.metrics, wanted)).toBeLessThan(1e-5);
  await session.says("Done: all 30 steps.");
  expect(await session.page.getByText("Device:").innerText()).toMatch(/SwiftShader.*software/i);
  expect(session.complaints).toEqual([]);
});

it("gives Node's losses", async () => {
  const out = join(temporary, "node");
  const { model, data, run, adapter } = files;
  const given = ["--model", model, "--data", data, "--config", run, "--adapter", adapter, "--out", out];
  await promisify(execFile)(process.execPath, ["scripts/run.mjs", "src/cli/train.ts", ...given], {
    // The driver that Chromium uses here, so that it is the place that differs and nothing else.
    env: { ...process.env, GRAFT_GPU: "software" },
  });
  const node = parseMetrics(readFileSync(join(out, "metrics.jsonl")));
  expect(node).toHaveLength(30);
  expect(worstLoss(first.metrics, node)).toBeLessThan(1e-6);
});

it("gives the same bytes again, and with recomputed activations", async () => {
  const again = await session.wholeRun(files);
  expect(Buffer.compare(again.files[WEIGHTS]!, first.files[WEIGHTS]!)).toBe(0);

  const recomputing = changedRun(files.run, { gradient_checkpointing: true });
  const recomputed = await session.wholeRun({ ...files, run: recomputing.path });
  recomputing.remove();
  // The option was heard: the card states it.
  expect(Buffer.from(recomputed.files["README.md"]!).toString()).toContain('"gradient_checkpointing": true');
  expect(Buffer.compare(recomputed.files[WEIGHTS]!, first.files[WEIGHTS]!)).toBe(0);

  const other = changedRun(files.run, { learning_rate: 0.002 });
  const different = await session.wholeRun({ ...files, run: other.path });
  other.remove();
  expect(Buffer.compare(different.files[WEIGHTS]!, first.files[WEIGHTS]!)).not.toBe(0);
});

it("stops between steps, and what was trained so far can be downloaded", async () => {
  const long = changedRun(files.run, { max_steps: 100_000 });
  await session.choose({ run: long.path });
  await session.train();
  await session.says("Training…");
  await session.button("Pause").click();
  await session.says("Paused.");
  await session.button("Resume").click();
  await session.says("Training…");
  await session.button("Stop").click();
  await session.says(/^Stopped after/);
  long.remove();
  const { metrics, files: stopped } = await session.download();
  expect(metrics.length).toBeGreaterThan(0);
  expect(metrics.length).toBeLessThan(100_000);
  expect(metrics.map(({ step }) => step)).toEqual(metrics.map((_, i) => i + 1));
  expect(stopped[WEIGHTS]!.length).toBe(first.files[WEIGHTS]!.length);
});

it("says what is wrong with a broken model and what to do; a good one then trains", async () => {
  const broken = join(temporary, "broken");
  cpSync(files.model, broken, { recursive: true });
  const weights = readFileSync(join(broken, "model.safetensors"));
  writeFileSync(join(broken, "model.safetensors"), weights.subarray(0, weights.length - 1000), {
    mode: 0o644,
  });
  await session.choose({ ...files, model: broken });
  const alert = session.page.getByRole("alert");
  await alert.waitFor();
  const [message, remedy] = await alert.locator("p").allInnerTexts();
  expect(message).toMatch(/model\.safetensors/);
  expect(remedy).toMatch(/download|again|complete/i);

  const good = await session.wholeRun(files);
  expect(await alert.count()).toBe(0);
  expect(Buffer.compare(good.files[WEIGHTS]!, first.files[WEIGHTS]!)).toBe(0);
  expect(session.complaints).toEqual([]);
});
