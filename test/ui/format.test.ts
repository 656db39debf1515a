import { expect, it } from "vitest";
import { counted } from "../../src/ui/format.ts";

it("writes a noun as its number wants it", () => {
  expect([0, 1, 2, 1200].map((rows) => counted(rows, "row"))).toEqual([
    ...["0 rows", "1 row", "2 rows", "1,200 rows"],
  ]);
});
