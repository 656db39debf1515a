import { expect, it } from "vitest";
import { Latest } from "../../src/ui/latest.ts";

it("lets what was asked for last win, until it is not wanted any more", () => {
  const asked = new Latest();
  const isFirst = asked.begin();
  const beside = asked.current();
  expect([isFirst(), beside()]).toEqual([true, true]);
  const isSecond = asked.begin();
  expect([isFirst(), beside(), isSecond()]).toEqual([false, false, true]);
  asked.end();
  expect(isSecond()).toBe(false);
});
