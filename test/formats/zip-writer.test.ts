import { unzipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { crc32 } from "../../src/formats/crc32.ts";
import { type ZipEntry, zipFrame } from "../../src/formats/zip-writer.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

it("gives the CRC-32 of zip, whole or piece by piece", () => {
  expect(crc32(bytes("123456789"))).toBe(0xcbf43926);
  expect(crc32(bytes("6789"), crc32(bytes("12345")))).toBe(0xcbf43926);
  expect(crc32(new Uint8Array())).toBe(0);
});

it("frames files so that another's reader finds them, the same for the same files", () => {
  const files: Record<string, Uint8Array> = {
    "a.txt": bytes("one"),
    "below/é.bin": Uint8Array.of(0, 255, 80, 75),
    empty: new Uint8Array(),
  };
  const entries = Object.entries(files).map(([name, content]): ZipEntry => {
    return { name, byteLength: content.length, crc32: crc32(content) };
  });
  const { before, after } = zipFrame(entries);
  const zip = Buffer.concat([...Object.values(files).flatMap((content, i) => [before[i]!, content]), after]);
  expect(unzipSync(zip)).toEqual(files);
  expect(zipFrame(entries)).toEqual({ before, after });
});

describe("from 4 GiB on", () => {
  const GIB = 2 ** 30;
  const { before, after } = zipFrame([
    { name: "large", byteLength: 5 * GIB, crc32: 1 },
    { name: "behind", byteLength: 3, crc32: 2 },
  ]);
  const at = (part: Uint8Array) => new DataView(part.buffer, part.byteOffset);
  const u64 = (view: DataView, place: number) => Number(view.getBigUint64(place, true));

  it("a size stands in Zip64's extra field", () => {
    const local = at(before[0]!);
    expect(local.getUint32(18, true)).toBe(0xffffffff);
    expect(local.getUint16(28, true)).toBe(20);
    expect(u64(local, 30 + "large".length + 4)).toBe(5 * GIB);
    expect(at(before[1]!).getUint32(18, true)).toBe(3);
  });

  it("an offset, too, and the end of the directory is found by a record of its own", () => {
    const view = at(after);
    const offset = before[0]!.length + 5 * GIB;
    const second = 46 + "large".length + 20;
    expect(view.getUint32(second, true)).toBe(0x02014b50);
    expect(view.getUint32(second + 42, true)).toBe(0xffffffff);
    expect(u64(view, second + 46 + "behind".length + 4)).toBe(offset);
    const directoryBytes = second + 46 + "behind".length + 12;
    expect(view.getUint32(directoryBytes, true)).toBe(0x06064b50);
    const start = offset + before[1]!.length + 3;
    expect(u64(view, directoryBytes + 48)).toBe(start);
    expect(u64(view, directoryBytes + 56 + 8)).toBe(start + directoryBytes);
    expect(view.getUint32(after.length - 6, true)).toBe(0xffffffff);
  });
});
