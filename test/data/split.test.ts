import { describe, expect, it } from "vitest";
import type { Row } from "../../src/data/rows.ts";
import { findDuplicates, findLeaks, splitRows } from "../../src/data/split.ts";

const texts = (...of: string[]): Row[] => of.map((text, i) => ({ text, line: i + 1 }));
const many = texts(...Array.from({ length: 100 }, (_, i) => `${i}`));
const chat = (content: string, line: number, more = {}): Row => ({
  messages: [
    { role: "user", content },
    { role: "assistant", content: "a", ...more },
  ],
  line,
});

describe("the held-out part", () => {
  it("is a share of the rows or so many, each row in one part, in the order of the file", () => {
    for (const [size, held] of [
      [{ share: 0.1 }, 10],
      [{ share: 0.001 }, 1],
      [{ count: 99 }, 99],
    ] as const) {
      const { train, heldOut } = splitRows(many, { ...size, seed: 1 });
      expect(heldOut).toHaveLength(held);
      const lines = [...train, ...heldOut].map(({ line }) => line);
      expect(lines.toSorted((a, b) => a - b)).toEqual(many.map(({ line }) => line));
      for (const part of [train, heldOut]) {
        const order = part.map(({ line }) => line);
        expect(order).toEqual(order.toSorted((a, b) => a - b));
      }
    }
  });

  it("is the same for the same seed, and another for another", () => {
    const held = (seed: number) => splitRows(many, { share: 0.2, seed }).heldOut.map(({ line }) => line);
    expect(held(3)).toEqual(held(3));
    expect(held(3)).not.toEqual(held(4));
  });

  it.each([
    [{ share: 0.5 }, 1],
    [{ share: 1 }, 4],
    [{ count: 4 }, 4],
    [{ count: 0 }, 4],
  ] as const)("cannot be %j of %i rows", (size, rows) => {
    expect(() => splitRows(many.slice(0, rows), { ...size, seed: 1 })).toThrow(/both parts need one/);
  });
});

describe("rows that occur twice", () => {
  it("are those that say what an earlier one says, wherever they stand", () => {
    expect(findDuplicates(texts("a", "b", "a", "A", "a"))).toEqual([2, 4]);
    const rows: Row[] = [
      chat("x", 1),
      {
        messages: [
          { content: "x", role: "user" },
          { content: "a", role: "assistant" },
        ],
        line: 2,
      },
      chat("x", 3, { name: "Ada" }),
      { ...chat("x", 4), promptTurns: 1 } as Row,
      { prompt: "x", completion: "a", line: 5 },
    ];
    expect(findDuplicates(rows)).toEqual([1]);
  });

  it("are leaks where they are held out", () => {
    const train = texts("a", "b", "c", "b");
    expect(findLeaks(train, texts("x", "b"))).toEqual([1, 3]);
  });
});
