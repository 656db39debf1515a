/** What was trained is taken along in each form that there is, and every file is what it says. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import type { Browser, Download } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { openGguf } from "../../src/formats/gguf.ts";
import { openSafetensors, writeSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource, bytesFileSet } from "../../src/formats/sources.ts";
import { readAdapter } from "../../src/lora/readAdapter.ts";
import { type } from "./demo.ts";
import { holdWritesUntilStopped } from "./held.ts";
import { mebibytesOnDisk } from "./pageDisk.ts";
import { changedRun, filesOf, TrainPage } from "./trainPage.ts";

let browser: Browser;
let session: TrainPage;

beforeAll(async () => {
  browser = await launchBrowser();
  session = await TrainPage.open(browser);
  await type(session.page, {
    Steps: 2,
    "Batch size": 4,
    "Learning rate": 0.01,
    Rank: 4,
    Modules: "q_proj, v_proj",
  });
  await session.train();
  await session.says(/^Done: all 2 steps/);
});
afterAll(() => browser?.close());

const dialog = () => session.page.getByRole("dialog", { name: "Take it along" });
const form = (title: string) => dialog().getByRole("region", { name: title });

async function bytesOf(download: Download): Promise<Uint8Array> {
  return new Uint8Array(readFileSync(await download.path()));
}

/** Has one form made, and gives the file that comes by itself and the words about it. */
async function take(title: string): Promise<{ name: string; bytes: Uint8Array; words: string }> {
  const downloads = session.page.waitForEvent("download");
  await form(title)
    .getByRole("button", { name: `Download: ${title}` })
    .click();
  const download = await downloads;
  const words = await form(title)
    .getByText(/^Read back/)
    .innerText();
  return { name: download.suggestedFilename(), bytes: await bytesOf(download), words };
}

it("is opened with the keyboard, and closed again", async () => {
  await session.button("Other forms…").focus();
  await session.page.keyboard.press("Enter");
  await form("PEFT adapter").waitFor();
  await session.page.keyboard.press("Escape");
  await dialog().waitFor({ state: "hidden" });
  await session.button("Other forms…").click();
});

it("gives PEFT's folder as a zip", async () => {
  const { name, bytes, words } = await take("PEFT adapter");
  expect(name).toBe("graft-toy-lora.zip");
  expect(words).toMatch(
    /^Read back: the same logits, to the bit\. Training has moved them by [\d.]+ % of the/,
  );
  const files = new Map(Object.entries(unzipSync(bytes)));
  for (const file of ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]) {
    const served = readFileSync(`public/model/${file}`);
    expect(Buffer.from(files.get(file)!).equals(served), file).toBe(true);
  }
  const { tensors } = await readAdapter(bytesFileSet("zip", files));
  expect(tensors.size).toBe(24);
  expect(Buffer.from(files.get("README.md")!).toString()).toContain("license: apache-2.0");
});

it("gives a GGUF adapter, and beside it a Modelfile", async () => {
  const { name, bytes, words } = await take("GGUF adapter");
  expect(name).toBe("graft-toy-lora.gguf");
  expect(words).toMatch(/^Read back/);
  const { metadata, tensors } = await openGguf(arraySource(bytes, name));
  expect(metadata.get("adapter.lora.alpha")).toEqual({ type: "f32", value: 16 });
  expect(tensors.size).toBe(24);
  const downloads = session.page.waitForEvent("download");
  await form("GGUF adapter").getByRole("button", { name: "Save graft-toy-lora.Modelfile" }).click();
  const recipe = Buffer.from(await bytesOf(await downloads)).toString();
  expect(recipe).toMatch(/^FROM graft-toy\nADAPTER \.\/graft-toy-lora\.gguf\nTEMPLATE """/);
  expect(session.complaints).toEqual([]);
});

it("gives base and adapter as one checkpoint that stands alone", async () => {
  const { name, bytes, words } = await take("Merged checkpoint");
  expect(name).toBe("graft-toy-merged.zip");
  expect(words).toMatch(/^Read back: logits differ by [\d.e-]+ of the largest; [\d.e-]+ is allowed/);
  const files = new Map(Object.entries(unzipSync(bytes)));
  const { tensors } = await openSafetensors(arraySource(files.get("model.safetensors")!, name));
  const base = await openSafetensors(
    arraySource(readFileSync("public/model/model.safetensors"), "model.safetensors"),
  );
  expect([...tensors.keys()].sort()).toEqual([...base.tensors.keys()].sort());
  const changed = await Promise.all(
    [...tensors].map(async ([key, tensor]) => {
      const before = Buffer.from(await base.tensors.get(key)!.read());
      return before.equals(Buffer.from(await tensor.read())) ? [] : [key];
    }),
  );
  expect(changed.flat().every((key) => /\.(q|v)_proj\.weight$/.test(key))).toBe(true);
  expect(changed.flat()).toHaveLength(12);
});

it("gives the whole model as one GGUF file, in the type that was asked for", async () => {
  await form("Whole model as GGUF").getByRole("radio", { name: "Q8_0" }).click();
  const { name, bytes, words } = await take("Whole model as GGUF");
  expect(name).toBe("graft-toy-merged-q8_0.gguf");
  expect(words).toMatch(/^Read back: logits differ by/);
  const { metadata, tensors } = await openGguf(arraySource(bytes, name));
  expect(metadata.get("general.architecture")?.value).toBe("llama");
  expect(metadata.get("tokenizer.chat_template")?.value).toContain("<|im_start|>");
  expect(tensors.get("blk.0.attn_q.weight")?.type).toBe("Q8_0");
});

it("says of a form that cannot hold what was trained why, before it is asked for", async () => {
  await session.page.keyboard.press("Escape");
  await session.page.getByText("Advanced", { exact: true }).click();
  await session.page.getByLabel("use_dora").check();
  await session.train();
  await session.says(/^Done: all 2 steps/);
  await session.button("Other forms…").click();
  const gguf = form("GGUF adapter");
  expect(await gguf.getByRole("button", { name: "Download: GGUF adapter" }).isDisabled()).toBe(true);
  expect(await gguf.innerText()).toContain("cannot hold DoRA's magnitudes");
  expect(
    await form("PEFT adapter")
      .getByRole("button", { name: /^Download/ })
      .isEnabled(),
  ).toBe(true);
});

/** GPT-2 with so many positions that its checkpoint does not stay in memory as it is written; 36 MiB of one table. */
async function largeModel(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "graft-large-"));
  const { model } = filesOf("gpt2_gelu");
  cpSync(model, folder, { recursive: true });
  const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as { n_embd: number };
  const [positions, width] = [36 * 2 ** 13, config.n_embd];
  expect(width).toBe(32);
  const weights = await openSafetensors(arraySource(readFileSync(join(model, WEIGHTS)), WEIGHTS));
  const tensors = [...weights.tensors.values()].map(async (tensor) => {
    const { name, dtype, shape } = tensor;
    const isTable = name === "transformer.wpe.weight";
    const bytes = await tensor.read();
    if (!isTable) return { name, dtype, shape, bytes };
    const long = new Uint8Array(4 * positions * width);
    long.set(bytes);
    return { name, dtype, shape: [positions, width], bytes: long };
  });
  writeFileSync(join(folder, WEIGHTS), writeSafetensors(await Promise.all(tensors), { format: "pt" }));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, n_positions: positions }));
  return folder;
}

const WEIGHTS = "model.safetensors";

it("stops an export that is under way, asking first where it is closed, leaves nothing of it, and does it again; the run goes on", async () => {
  session = await TrainPage.open(browser);
  const { page } = session;
  const files = filesOf("gpt2_gelu");
  const model = await largeModel();
  const long = changedRun(files.run, { max_steps: 100_000 });
  await session.choose({ model, data: files.data, run: long.path });
  await session.train();
  await session.says("Training…");
  await session.button("Pause").click();
  await session.says("Paused.");

  await holdWritesUntilStopped(await session.worker);
  await session.button("Other forms…").click();
  const merged = form("Merged checkpoint");
  await merged.getByRole("button", { name: "Download: Merged checkpoint" }).click();
  // Its file is begun; Chromium keeps what is written beside it until it is closed.
  await expect.poll(() => mebibytesOnDisk(page)).not.toEqual([]);
  await merged.getByText(/^Writing the files/).waitFor();
  await merged.getByRole("button", { name: "Stop" }).click();
  await merged.getByText("Stopped: no file was made, and what was trained is untouched.").waitFor();
  expect(await mebibytesOnDisk(page)).toEqual([]);
  expect(await dialog().getByRole("alert").count()).toBe(0);

  await holdWritesUntilStopped(await session.worker);
  await merged.getByRole("button", { name: "Download: Merged checkpoint" }).click();
  await merged.getByText(/^Writing the files/).waitFor();
  const asks = dialog().getByRole("alert").getByText("Closing stops that");
  // Pressed twice it is no answer, however often: a browser lets a page refuse it once.
  for (let time = 0; time < 3; time++) {
    await page.keyboard.press("Escape");
    await asks.waitFor();
    await page.keyboard.press("Escape");
    await asks.waitFor({ state: "hidden" });
    await merged.getByText(/^Writing the files/).waitFor();
  }
  await page.keyboard.press("Escape");
  await asks.waitFor();
  await session.button("Go on").click();
  await asks.waitFor({ state: "hidden" });
  await merged.getByText(/^Writing the files/).waitFor();
  await session.button("Close").click();
  await session.button("Stop and close").click();
  await dialog().waitFor({ state: "hidden" });
  await expect.poll(() => mebibytesOnDisk(page)).toEqual([]);
  await session.button("Other forms…").click();

  const { bytes, words } = await take("Merged checkpoint");
  expect(words).toMatch(/^Read back/);
  const weights = new Map(Object.entries(unzipSync(bytes))).get(WEIGHTS)!;
  expect(weights.length).toBeGreaterThan(36 * 2 ** 20);
  expect(await merged.getByText(/^Stopped/).count()).toBe(0);
  expect(await mebibytesOnDisk(page)).toEqual([weights.length / 2 ** 20]);

  await page.keyboard.press("Escape");
  await session.button("Resume").click();
  await session.says("Training…");
  await session.button("Stop").click();
  await session.says(/^Stopped after/);
  expect(session.complaints).toEqual([]);
  long.remove();
  rmSync(model, { recursive: true });
});
