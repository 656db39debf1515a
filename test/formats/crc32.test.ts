import { expect, it } from "vitest";
import { checkWritten, crc32, crc32Of } from "../../src/formats/crc32.ts";
import { arraySource } from "../../src/formats/sources.ts";

it("gives what every other CRC-32 gives, piece after piece", async () => {
  // The check value of the CRC-32 in its catalogues.
  const digits = new TextEncoder().encode("123456789");
  expect(crc32(digits)).toBe(0xcbf43926);
  expect(crc32(digits.subarray(4), crc32(digits.subarray(0, 4)))).toBe(0xcbf43926);
  expect(await crc32Of(arraySource(digits, "a"))).toBe(0xcbf43926);
});

it("finds any byte that is not as it was written, also beyond the first piece that is read", async () => {
  const bytes = new Uint8Array(5_000_000).map((_, i) => i * 7);
  const crc = crc32(bytes);
  await checkWritten(arraySource(bytes, "a"), crc);
  for (const at of [0, 4_500_000, bytes.length - 1]) {
    const spoilt = bytes.with(at, bytes[at]! ^ 64);
    await expect(checkWritten(arraySource(spoilt, "a.bin"), crc)).rejects.toThrow(
      /^a\.bin, read back .*other bytes than were written\. No file was handed over/,
    );
  }
});
