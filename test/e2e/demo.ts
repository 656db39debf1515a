/** A bundled data set, chosen and trained as a person would. */
import type { Page } from "playwright-core";

export interface Score {
  readonly base: string;
  readonly tuned: string;
}

/** Presses what chooses this data set, by its title. */
export async function chooseSet(page: Page, title: string): Promise<void> {
  await page.getByRole("radio", { name: title }).click();
}

/** Types settings as the form has them, by label. */
export async function type(page: Page, settings: Readonly<Record<string, string | number>>): Promise<void> {
  for (const [label, value] of Object.entries(settings)) {
    await page.getByLabel(label, { exact: true }).fill(String(value));
  }
}

/** A number of those that the page shows of the run, as it is written there: "Loss", "Held-out loss". */
export async function figure(page: Page, name: string): Promise<string> {
  const figures = page.getByLabel("Figures");
  return figures
    .locator("div", { has: page.getByText(name, { exact: true }) })
    .locator("dd")
    .innerText();
}

/** Rows of the table of scores, by their title. */
export async function scores(page: Page): Promise<Map<string, Score>> {
  const rows = await page.getByRole("table", { name: "Scores" }).locator("tbody tr").all();
  const found = await Promise.all(
    rows.map(async (row): Promise<[string, Score]> => {
      const [base = "", tuned = ""] = await row.locator("td").allInnerTexts();
      return [(await row.locator("th").innerText()).replace(/ \(.*/, ""), { base, tuned }];
    }),
  );
  return new Map(found);
}

/** "54 of 60" as a share. */
export function share(words: string): number {
  const [, right, total] = /^(\d+) of (\d+)$/.exec(words) ?? [];
  return Number(right) / Number(total);
}
