/** Rows of people's own, from what they have to a running training, and what the data view shows of them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import { type } from "./demo.ts";
import { tokenisingByTurns } from "./held.ts";
import { longestTask, timesLonger } from "./longestTask.ts";
import { TrainPage } from "./trainPage.ts";

const temporary = mkdtempSync(join(tmpdir(), "graft-data-"));
const write = (name: string, content: string): string => {
  const path = join(temporary, name);
  writeFileSync(path, content);
  return path;
};
const count = (length: number) => Array.from({ length }, (_, i) => i);

let browser: Browser;
/** One page for all walks: compiling is what takes time. */
let session: TrainPage;
let page: Page;
beforeAll(async () => {
  browser = await launchBrowser();
  session = await TrainPage.open(browser);
  page = session.page;
  await session.says("Ready to train.");
});
afterAll(async () => {
  await browser?.close();
  rmSync(temporary, { recursive: true });
});

async function give(files: string | string[]): Promise<void> {
  await session.view("Train");
  await page.getByRole("radio", { name: "Your own" }).click();
  await page.getByLabel(/^Data files/).setInputFiles(files);
}

/** To the first steps of a training, and back. */
async function train(): Promise<void> {
  // So many that there is something to stop, however fast they are.
  await type(page, { Steps: 100_000 });
  await session.says("Ready to train.");
  await session.button("Train").click();
  // Stopped while the rows held out are evaluated for the first time, there is no run to end yet.
  await page.getByRole("progressbar", { name: "Steps taken" }).waitFor();
  await session.button("Stop").click();
  await session.says(/^Stopped after/);
}

const row = () => page.getByRole("region", { name: /^Row / });

describe("a new user's own rows", () => {
  it("are questions and answers under odd column names", async () => {
    const lines = count(24).map((i) => `${i};Was kostet Nummer ${i}?;"${i} Taler; nicht mehr"`);
    await give(write("preise.csv", `Nr;Was der Gast fragt;Was wir sagen\n${lines.join("\n")}\n`));
    await page.getByText("Say what the columns mean").waitFor();
    await page.getByLabel("User says").focus();
    await page.getByRole("button", { name: "Add the column Was der Gast fragt" }).click();
    await page.getByLabel("Assistant says").focus();
    await page.getByRole("button", { name: "Add the column Was wir sagen" }).click();
    await page.getByRole("button", { name: "Use these columns" }).click();
    await page.getByText("CSV, columns as you say: 21 rows to train on, 3 held out.").waitFor();
    await page.getByRole("list", { name: "First rows" }).getByText("Taler; nicht mehr").first().waitFor();
    await train();
  });

  it("are a ShareGPT export", async () => {
    const rows = count(12).map((i) => ({
      id: `x${i}`,
      conversations: [
        { from: "human", value: `Tell me of dog ${i}.` },
        { from: "gpt", value: `Dog ${i} is a good dog.` },
      ],
    }));
    await give(write("sharegpt.json", JSON.stringify(rows)));
    await page.getByText("JSON, conversations: 10 rows to train on, 2 held out.").waitFor();
    await train();
  });

  it("are a folder of texts", async () => {
    const folder = join(temporary, "texts");
    mkdirSync(folder);
    for (const i of count(11)) writeFileSync(join(folder, `${i}.txt`), `Story ${i}.\n\nThe dog ran home.`);
    writeFileSync(join(folder, "cover.png"), Uint8Array.of(137, 80, 78, 71, 0));
    await page.getByRole("button", { name: "Remove: Data files" }).click();
    await page.getByLabel(/^Folder/).setInputFiles(folder);
    await page.getByText("Text, each file a row, plain texts: 9 rows to train on, 2 held out.").waitFor();
    await train();
  });

  it("are a file with three broken lines", async () => {
    const good = count(20).map((i) => JSON.stringify({ prompt: `Count to ${i}: `, completion: `${i}!` }));
    const lines = [
      ...good.slice(0, 5),
      "{broken",
      ...good.slice(5, 9),
      '{"prompt": "half"}',
      ...good.slice(9),
      "[]",
    ];
    await give(write("broken.jsonl", lines.join("\n")));
    const alert = page.getByRole("alert");
    await alert.waitFor();
    expect(await alert.innerText()).toContain("broken.jsonl, line 6 is not JSON");
    await page.getByText("3 rows cannot be used").waitFor();
    for (const line of ["line 6", "line 11", "line 23"]) {
      expect(await page.locator(".faults").innerText()).toContain(line);
    }
    await page.getByRole("button", { name: "Go on with the 20 rows that can be used" }).click();
    await page.getByText("18 rows to train on, 2 held out").waitFor();
    await page.getByText("3 rows left out").waitFor();
    await train();
    expect(session.complaints).toEqual([]);
  });
});

describe("the data view", () => {
  it("shows what is learnt of a row, and what ends an answer", async () => {
    const rows = count(12).map((i) => ({
      messages: [
        { role: "user", content: `Who is ${i}?` },
        { role: "assistant", content: `${i} 是 a dog 😀 ${"and a cat ".repeat(i)}` },
      ],
    }));
    await give(write("chat.jsonl", [...rows, rows[11]].map((given) => JSON.stringify(given)).join("\n")));
    await session.says("Ready to train.");
    await session.view("Data");
    await row()
      .getByText(/tokens, \d+ of them learnt/)
      .waitFor();
    const learnt = await row().locator(".token-text mark").allInnerTexts();
    // Characters of several tokens stand in the first of them.
    expect(learnt.map((text) => text.replaceAll("·", ""))).toEqual(["0 是 a dog 😀 <|im_end|>"]);
    expect(await row().locator(".token-text .end").last().innerText()).toBe("<|im_end|>");
    await row().getByRole("button", { name: "Next" }).click();
    await page.getByRole("heading", { name: "Row 2" }).waitFor();
    await expect.poll(() => page.getByLabel("messages").inputValue()).toContain("Who is 1?");
    await page.getByRole("button", { name: "Row 2", exact: true }).focus();
    await page.keyboard.press("End");
    await page.getByRole("heading", { name: "Row 13" }).waitFor();
  });

  it("says what a cut costs while its line is moved, and cuts there", async () => {
    const line = page.getByRole("slider", { name: /^Cut at/ });
    const words = page.locator("p[aria-live]");
    expect(await words.innerText()).toBe("No row is cut.");
    await line.focus();
    await page.keyboard.press("Home");
    await expect.poll(() => words.innerText()).toMatch(/^\d+ rows cut, \d+ lose their answer\.$/);
    // At two tokens nothing is learnt of any row: that is refused, and the view stays.
    await page.getByRole("alert").first().waitFor();
    await line.focus();
    for (const _ of count(38)) await page.keyboard.press("ArrowRight");
    await session.says("Ready to train.");
    expect(await page.getByLabel("max_length").inputValue()).toBe("40");
    expect(await words.innerText()).toMatch(/cut, \d+ (lose|loses) (a part of )?(their|its) answer/);
    await row().getByText("are cut away").waitFor();
    // The same with the mouse, from where the line is to two thirds of the width.
    await page.locator(".lengths").scrollIntoViewIfNeeded();
    const { x, y, width } = (await page.locator(".lengths").boundingBox())!;
    await page.mouse.move(x + width / 3, y + 20);
    await page.mouse.down();
    await page.mouse.move(x + (2 * width) / 3, y + 30, { steps: 4 });
    const third = Number(await line.getAttribute("max")) / 3;
    await expect.poll(async () => Math.abs(Number(await line.inputValue()) - 2 * third)).toBeLessThan(2);
    await page.mouse.up();
    expect(await page.getByLabel("max_length").inputValue()).toBe(await line.inputValue());
    await session.says("Ready to train.");
  });

  it("changes rows, takes them out and back", async () => {
    await page.getByRole("button", { name: "Row 13", exact: true }).focus();
    await page.keyboard.press("Home");
    const source = page.getByLabel("messages");
    await source.fill("[broken");
    await page.getByRole("button", { name: "Keep the change" }).click();
    await page.getByRole("alert").getByText("is not JSON").waitFor();
    await source.fill('[{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "Yes."}]');
    await page.getByRole("button", { name: "Keep the change" }).click();
    await row().locator(".token-text mark").getByText("Yes").waitFor();
    await page.getByRole("button", { name: "Delete the row" }).click();
    await page.getByText("12 rows", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByText("13 rows", { exact: true }).waitFor();
    await session.view("Train");
    await page
      .getByRole("button", { name: /^Remove (duplicates|them)/ })
      .first()
      .click();
    await page.getByText(/1[01] rows to train on/).waitFor();
    await session.says("Ready to train.");
    expect(session.complaints).toEqual([]);
  });
});

describe("a chat template of one's own", () => {
  it("that writes earlier answers anew is refused, and learns last answers where that is wanted", async () => {
    const turns = ["Who?", "A dog.", "And who?", "A cat."].map((content, i) => ({
      role: i % 2 === 0 ? "user" : "assistant",
      content,
    }));
    const rows = count(12).map((i) => JSON.stringify({ messages: turns, n: i }));
    await give(write("turns.jsonl", rows.join("\n")));
    const says = `{% if m.role == "assistant" and not loop.last %}(said){% else %}{{ m.content }}{% endif %}`;
    const ask = "{% if add_generation_prompt %}assistant: {% endif %}";
    const template = `{% for m in messages %}{{ m.role }}: ${says}\n{% endfor %}${ask}`;
    await session.view("Data");
    await page.getByLabel("max_length").fill("64");
    await page.getByLabel(/^Chat template/).setInputFiles(write("forgetful.jinja", template));
    await page.getByRole("alert").first().waitFor();
    await page.getByRole("button", { name: "Learn the last answer of each conversation only" }).click();
    await session.says("Ready to train.");
    // The space before it is of its first token.
    await expect.poll(() => row().locator(".token-text mark").allInnerTexts()).toEqual([" A cat."]);
    expect(await row().locator(".token-text").innerText()).toContain("(said)");
    await page.getByRole("button", { name: "Remove: Chat template" }).click();
    await session.view("Train");
  });
});

describe("100 000 rows of chat", () => {
  const answer = "and the dog ran home to its mother, who was happy ".repeat(10);
  const rowsOf = (length: number) => {
    const lines = count(length).map((i) =>
      JSON.stringify({
        messages: [
          { role: "user", content: `What did the dog of house number ${i} do in the park today? ${answer}` },
          { role: "assistant", content: `It found ${i} bones, ${answer}` },
        ],
      }),
    );
    return write(`${length}.jsonl`, lines.join("\n"));
  };

  /** The longest task while a file is read, tokenised, looked through and stopped. */
  const longestOf = (path: string, row: number, nextTurn: () => Promise<void>) =>
    longestTask(browser, page, async () => {
      const progress = page.getByRole("progressbar", { name: "Tokenised" });
      await give(path);
      await progress.waitFor();
      const first = Number(await progress.getAttribute("value"));
      await nextTurn();
      await expect.poll(async () => Number(await progress.getAttribute("value"))).toBeGreaterThan(first);
      await session.view("Data");
      const grid = page.locator(".grid");
      for (const place of [0.1, 0.4, 0.99]) {
        await grid.evaluate((box, share) => box.scrollTo(0, share * box.scrollHeight), place);
        await nextTurn();
        await page.waitForTimeout(300);
      }
      await page.getByRole("button", { name: `Row ${row}`, exact: true }).waitFor();
      await session.button("Stop").click();
      await page.getByRole("alert").getByText("It was stopped before all rows were read.").waitFor();
    });

  it("are read, tokenised with progress and stopped in tasks as short as those of 5 000", async () => {
    const few = rowsOf(5000);
    const many = rowsOf(100_000);
    // Else a fast machine would be done before all was looked at.
    const nextTurn = await tokenisingByTurns(await session.worker);
    // A pass over all rows in the page would be a task of hundreds of milliseconds.
    const most = 5;
    const times = await timesLonger(
      () => longestOf(few, 4950, nextTurn),
      () => longestOf(many, 99_000, nextTurn),
      most,
    );
    expect(times).toBeLessThan(most);
  });
});
