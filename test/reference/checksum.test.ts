import { expect, it } from "vitest";
import { checksum } from "./checksum.ts";

it("changes with any bit of any word, and where two words change places", () => {
  const words = Uint32Array.of(0, 1, 0xffffffff, 0x3f800000);
  const seen = new Set([checksum(words), checksum(words.toReversed()), checksum(words.subarray(1))]);
  for (let i = 0; i < words.length; i++) {
    for (let bit = 0; bit < 32; bit++) {
      const changed = words.slice();
      changed[i]! ^= 1 << bit;
      seen.add(checksum(changed));
    }
  }
  expect(seen.size).toBe(3 + 4 * 32);
});
