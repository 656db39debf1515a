import { expect, it } from "vitest";
import { costWords } from "../../src/ui/dataWords.ts";

it("says what a cut costs", () => {
  expect(costWords({ cut: 0, losePart: 0, loseAll: 0 })).toBe("No row is cut.");
  expect(costWords({ cut: 7, losePart: 0, loseAll: 3 })).toBe("7 rows cut, 3 lose their answer.");
  expect(costWords({ cut: 1, losePart: 1, loseAll: 0 })).toBe("1 row cut, 1 loses a part of its answer.");
  expect(costWords({ cut: 9, losePart: 2, loseAll: 3 })).toBe(
    "9 rows cut, 3 lose their answer, 2 a part of it.",
  );
  expect(costWords({ cut: 2, losePart: 0, loseAll: 0 })).toBe("2 rows cut, no answer with them.");
});
