/** The sheet is one for the whole page: a name that two parts use makes one of them look like the other. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const sheet = readFileSync("src/ui/style.css", "utf8").replaceAll(/\/\*.*?\*\/|@import[^;]*;/gs, "");
/** Rules within a media query are meant to say a second thing of what has a rule already. */
const plain = sheet.replaceAll(/@[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}/g, "");

it("has one rule for each selector", () => {
  const selectors = [...plain.matchAll(/([^{}]+)\{/g)].map(([, selector]) => selector!.trim());
  expect(selectors.length).toBeGreaterThan(100);
  expect(selectors.filter((selector, i) => selectors.indexOf(selector) !== i)).toEqual([]);
});
