/** Chat templates from strangers, in the built page: what does not end, or fills the memory, is stopped, and the page lives on. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { filesOf, TrainPage } from "./trainPage.ts";

const folder = mkdtempSync(join(tmpdir(), "graft-template-"));
let browser: Browser;
let session: TrainPage;

beforeAll(async () => {
  browser = await launchBrowser();
  session = await TrainPage.open(browser);
  const row = {
    messages: [
      { role: "user", content: "the tree" },
      { role: "assistant", content: "grows" },
    ],
  };
  writeFileSync(join(folder, "rows.jsonl"), `${JSON.stringify(row)}\n`.repeat(3));
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

/** Opens the conversations with a model whose template is this one. */
async function open(name: string, template: string): Promise<void> {
  const model = join(folder, name);
  cpSync(filesOf("gpt2_gelu").model, model, { recursive: true });
  writeFileSync(join(model, "chat_template.jinja"), template);
  await session.choose({ model, data: join(folder, "rows.jsonl") });
}

it.each([
  [
    "loops",
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    /did not answer within 250 ms/,
  ],
  [
    "hangs",
    "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
    /did not answer within 250 ms/,
  ],
  [
    "doubles",
    "{% set ns = namespace(s='0123456789') %}{% for i in range(30) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    /a text of more than 1000000 characters/,
  ],
])("a template that %s is stopped", async (name, template, says) => {
  await open(name, template);
  await expect(session.says("Ready to train.")).rejects.toThrow(says);
});

it("and the page goes on with the next", async () => {
  await open("fine", "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}");
  await session.says("Ready to train.");
  expect(session.complaints).toEqual([]);
});
