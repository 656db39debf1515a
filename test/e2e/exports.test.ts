/** What was trained is taken along in each form that there is, and every file is what it says. */
import { readFileSync } from "node:fs";
import { unzipSync } from "fflate";
import type { Browser, Download } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { openGguf } from "../../src/formats/gguf.ts";
import { openSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource, bytesFileSet } from "../../src/formats/sources.ts";
import { readAdapter } from "../../src/lora/readAdapter.ts";
import { type } from "./demo.ts";
import { TrainPage } from "./trainPage.ts";

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
}, 300_000);
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
  await session.page.getByText("Advanced").first().click();
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
