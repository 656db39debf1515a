import { type Zippable, zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { FormatError } from "../../src/base/errors.ts";
import { arraySource } from "../../src/formats/sources.ts";
import { openZip } from "../../src/formats/zip.ts";
import { wholeNumber } from "../harness/random.ts";

const text = (value: string) => new TextEncoder().encode(value);
const long = text("to be or not to be ".repeat(500));

const archive = (files: Zippable, level: 0 | 6 = 6) => zipSync(files, { level });
const open = (bytes: Uint8Array) => openZip(arraySource(bytes, "a.zip"), "config.json");
async function read(bytes: Uint8Array, name: string): Promise<Uint8Array> {
  const file = (await open(bytes)).open(name)!;
  return file.read(0, file.size);
}

/** A copy of the archive with a field of the `nth` entry of its directory set. */
function tampered(bytes: Uint8Array, offset: number, value: number, width: 2 | 4): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const end = copy.length - 22;
  const at = view.getUint32(end + 16, true) + offset;
  if (width === 2) view.setUint16(at, value, true);
  else view.setUint32(at, value, true);
  return copy;
}

describe("a zip archive", () => {
  it.each([0, 6] as const)("gives back what was packed, at level %i", async (level) => {
    const bytes = archive({ "config.json": text("{}"), "long.txt": long, empty: new Uint8Array(0) }, level);
    const files = await open(bytes);
    expect(files.names()).toEqual(["config.json", "long.txt", "empty"]);
    expect(await read(bytes, "long.txt")).toEqual(long);
    expect(await files.open("long.txt")!.read(3, 5)).toEqual(long.subarray(3, 5));
    expect(files.open("empty")!.size).toBe(0);
    await expect(files.open("long.txt")!.read(0, long.length + 1)).rejects.toThrow(FormatError);
  });

  it("is one folder: the outermost with the file that is wanted, without what lies deeper", async () => {
    const bytes = archive({
      run: { "config.json": text("outer"), "a.txt": text("a"), old: { "config.json": text("inner") } },
      "__MACOSX/run/._config.json": text("x"),
    });
    expect((await open(bytes)).names()).toEqual(["config.json", "a.txt"]);
    expect(await read(bytes, "config.json")).toEqual(text("outer"));
    await expect(open(archive({ "other.json": text("{}") }))).rejects.toThrow(
      'a.zip holds no config.json; it holds ["other.json"].',
    );
  });

  it("followed by a comment is read", async () => {
    const bytes = archive({ "config.json": text("{}") });
    const commented = new Uint8Array([...bytes, ...text("hello")]);
    new DataView(commented.buffer).setUint16(bytes.length - 2, 5, true);
    expect(await read(commented, "config.json")).toEqual(text("{}"));
  });

  const good = archive({ "config.json": long });
  const beside = (path: string) => archive({ "config.json": text("{}"), [path]: text("x") });
  // 70 MB of zeros become 70 kB.
  const bomb = archive({ "config.json": text("{}"), "adapter_model.safetensors": new Uint8Array(7e7) });
  // Another program may unpack some; the others nothing can.
  const [unpacked, again] = ["Unpack it, and choose the folder.", "Download or pack it again."];
  it.each([
    ["ends early", good.subarray(0, good.length - 30), "it has no directory at its end", again],
    ["is empty", new Uint8Array(0), "it has no directory at its end", again],
    ["is encrypted", tampered(good, 8, 1, 2), "is encrypted", unpacked],
    ["is packed in another way", tampered(good, 10, 14, 2), "is packed by method 14", unpacked],
    ["claims what cannot be", tampered(good, 24, 0xffff_fff0, 4), "would have 4294967280 bytes", unpacked],
    [
      "unpacks to a thousand times its size",
      bomb,
      '"adapter_model.safetensors" would have 70000000 bytes',
      unpacked,
    ],
    ["climbs", beside("a/../../b"), 'it holds "a/../../b", which leads out of it', again],
    ["begins at the root", beside("/etc/passwd"), "which leads out of it", again],
    ["names a drive", beside("C:x"), "which leads out of it", again],
    ["has a NUL in a name", beside("a\0b"), "which leads out of it", again],
    [
      "has no entry where one should be",
      tampered(good, 0, 7, 4),
      "its directory ends after 0 of 1 files",
      again,
    ],
    ["has a name that runs over", tampered(good, 28, 60_000, 2), "runs over the end", again],
  ])("that %s is refused", async (_, bytes, message, remedy) => {
    await expect(open(bytes)).rejects.toThrow(message);
    await expect(open(bytes)).rejects.toThrow(remedy);
    await expect(open(bytes)).rejects.toThrow(/^a\.zip /);
    await expect(open(bytes)).rejects.toThrow(FormatError);
  });

  it.each([
    ["unpacks to more than it says", tampered(good, 24, long.length - 1, 4), "unpacks to other than"],
    ["unpacks to less than it says", tampered(good, 24, long.length + 1, 4), "unpacks to other than"],
    ["lies elsewhere", tampered(good, 42, 5, 4), "is not where its directory says"],
    ["lies outside", tampered(good, 42, 1e9, 4), "lies outside of it"],
    ["is cut", tampered(good, 20, 20, 4), "does not unpack"],
  ])("with a file that %s is refused when that is read", async (_, bytes, message) => {
    await expect(read(bytes, "config.json")).rejects.toThrow(message);
    await expect(read(bytes, "config.json")).rejects.toThrow(FormatError);
  });

  it.each([0, 6] as const)(
    "with a file of other bytes than were packed is refused when that is read, at level %i",
    async (level) => {
      const bytes = archive({ "config.json": long }, level);
      const spoilt = level === 0 ? bytes.with(bytes.length >> 1, 0) : tampered(bytes, 16, 1, 4);
      await expect(read(spoilt, "config.json")).rejects.toThrow(
        /"config.json" are not those that were packed/,
      );
    },
  );

  it("with two folders side by side that have the file is refused: which one is meant?", async () => {
    const two = { "step-10": { "config.json": text("a") }, "step-20": { "config.json": text("b") } };
    await expect(open(archive(two))).rejects.toThrow(
      /holds config.json in several folders: \["step-10\/config.json","step-20\/config.json"\]. .*choose one/,
    );
  });

  it("with the same file twice is refused", async () => {
    const twice = archive({ "config.json": text("{}"), "config.jsom": text("{}") }, 0);
    const renamed = twice.map((byte, i) =>
      String.fromCharCode(...twice.subarray(i - 10, i + 1)) === "config.jsom" ? "n".charCodeAt(0) : byte,
    );
    await expect(open(renamed)).rejects.toThrow('holds "config.json" twice');
  });

  it("that was damaged anywhere is read or refused by name", async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const random = wholeNumber(seed);
    const bytes = archive({ run: { "config.json": long, "weights.bin": new Uint8Array(3000) } });
    for (let i = 0; i < 2000; i++) {
      const spoilt = bytes.slice(0, random(8) === 0 ? random(bytes.length) : undefined);
      for (let n = 0; n <= random(3); n++) spoilt[random(spoilt.length)] = random(256);
      try {
        const files = await open(spoilt);
        for (const name of files.names()) await files.open(name)!.read(0, files.open(name)!.size);
      } catch (thrown) {
        expect(thrown, `seed ${seed}, ${i}`).toBeInstanceOf(FormatError);
      }
    }
  });
});
