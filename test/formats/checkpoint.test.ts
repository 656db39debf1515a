import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { ByteSource, FileSet } from "../../src/base/bytes.ts";
import { FormatError } from "../../src/base/errors.ts";
import { openDirectory } from "../../src/cli/files.ts";
import { openCheckpointTensors } from "../../src/formats/checkpoint.ts";
import { toFloat32 } from "../../src/formats/floats.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { arraySource, blobFileSet, mapFileSet } from "../../src/formats/sources.ts";

const sharded = fileURLToPath(new URL("fixtures/sharded", import.meta.url));
const INDEX = "model.safetensors.index.json";

function filesOf(entries: Record<string, string | Uint8Array>): FileSet {
  const sources = Object.entries(entries).map(([name, content]): [string, ByteSource] => {
    return [
      name,
      arraySource(typeof content === "string" ? new TextEncoder().encode(content) : content, name),
    ];
  });
  return mapFileSet("model", new Map(sources));
}

/** A file with a scalar for each name, which holds its number. */
function scalars(names: Record<string, number>): Uint8Array {
  const tensors = Object.entries(names).map(([name, value]) => {
    return { name, dtype: "F32" as const, shape: [], bytes: new Uint8Array(Float32Array.of(value).buffer) };
  });
  return writeSafetensors(tensors);
}

describe("a checkpoint", () => {
  it("is read from the shards that Python wrote", async () => {
    const tensors = await openCheckpointTensors(await openDirectory(sharded));
    expect([...tensors.keys()].sort()).toEqual(["a", "b", "c"]);
    expect(toFloat32(await tensors.get("b")!.read(), "F32")).toEqual(Float32Array.of(0, 1, 2, 3, 4, 5));
    expect(toFloat32(await tensors.get("b")!.read(8, 16), "F32")).toEqual(Float32Array.of(2, 3));
  });

  it("is read from dropped files, leaving subfolders aside", async () => {
    const shard = readFileSync(join(sharded, "model-00001-of-00002.safetensors"));
    const file = (path: string, content: BlobPart) => {
      const dropped = new File([content], path.split("/").at(-1)!);
      Object.defineProperty(dropped, "webkitRelativePath", { value: path });
      return dropped;
    };
    const files = blobFileSet("model", [
      file("model/onnx/model.safetensors", "x"),
      file("model/model.safetensors", shard),
    ]);
    const tensors = await openCheckpointTensors(files);
    expect(toFloat32(await tensors.get("a")!.read(), "F32")).toEqual(Float32Array.of(0, 1, 2, 3));
  });

  it("takes the single file where an index lies beside it", async () => {
    const files = filesOf({ "model.safetensors": scalars({ a: 1 }), [INDEX]: "broken" });
    expect([...(await openCheckpointTensors(files)).keys()]).toEqual(["a"]);
  });

  it("takes a tensor from the shard that the index names", async () => {
    const files = filesOf({
      "one.safetensors": scalars({ a: 1, b: 2 }),
      "two.safetensors": scalars({ a: 3, c: 4 }),
      [INDEX]: '{"weight_map":{"a":"two.safetensors","b":"one.safetensors"}}',
    });
    const tensors = await openCheckpointTensors(files);
    expect(toFloat32(await tensors.get("a")!.read(), "F32")[0]).toBe(3);
    // Not in the index, but in one shard only.
    expect(tensors.has("c")).toBe(true);
  });

  const index = (map: string) => ({
    "one.safetensors": scalars({ a: 1 }),
    [INDEX]: `{"metadata":{},"weight_map":${map}}`,
  });
  it.each<[string, Record<string, string | Uint8Array>, string, RegExp]>([
    [
      "a shard outside the folder",
      index('{"a":"../one.safetensors"}'),
      "shard-name",
      /"\.\.\/one\.safetensors"/,
    ],
    ["a shard at the root", index('{"a":"/etc/passwd"}'), "shard-name", /"\/etc\/passwd"/],
    ["a shard at an address", index('{"a":"https://x.org/one.safetensors"}'), "shard-name", /https/],
    ["a shard behind a backslash", index('{"a":"..\\\\one"}'), "shard-name", /shards lie beside/],
    ["a shard with a NUL", index('{"a":"one\\u0000"}'), "shard-name", /shards lie beside/],
    ["a shard without a name", index('{"a":""}'), "shard-name", /shards lie beside/],
    [
      "a shard that is not there",
      index('{"a":"two.safetensors"}'),
      "shard-missing",
      /"two\.safetensors", which is not there/,
    ],
    [
      "a tensor in no shard",
      index('{"a":"one.safetensors","b":null}'),
      "index-no-shard",
      /puts tensor "b" in no file/,
    ],
    [
      "a shard that lacks a tensor",
      index('{"a":"one.safetensors","b":"one.safetensors"}'),
      "shard-lacks-tensor",
      /holds tensor "b", but/,
    ],
    [
      "a tensor listed twice",
      index('{"a":"one.safetensors","a":"one.safetensors"}'),
      "index-duplicate",
      /lists tensor "a" twice/,
    ],
    [
      "two weight maps",
      { [INDEX]: '{"weight_map":{"a":"b"},"weight_map":{"a":"b"}}' },
      "index-duplicate",
      /two weight maps/,
    ],
    ["an empty index", index("{}"), "index-empty", /no weight_map/],
    ["an index that is not JSON", { [INDEX]: "weight_map" }, "index-json", /cannot be read/],
    [
      "an index of endless lists",
      { [INDEX]: `{"metadata":${"[".repeat(100_000)}` },
      "index-json",
      /nested deeper/,
    ],
    ["a Python pickle", { "pytorch_model.bin": "x" }, "pickle", /runs code when it is opened/],
    ["no weights", { "config.json": "{}" }, "no-weights", /neither model\.safetensors nor/],
  ])("is refused with %s", async (_, entries, code, says) => {
    const thrown = await openCheckpointTensors(filesOf(entries)).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(FormatError);
    expect((thrown as FormatError).code).toBe(code);
    expect((thrown as FormatError).message).toMatch(says);
  });

  it("is refused where two shards hold a tensor that the index does not know", async () => {
    const files = filesOf({
      "one.safetensors": scalars({ a: 1, x: 2 }),
      "two.safetensors": scalars({ b: 3, x: 4 }),
      [INDEX]: '{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}',
    });
    await expect(openCheckpointTensors(files)).rejects.toThrow(/Tensor "x" is in two shards/);
  });
});

describe("a folder on disk", () => {
  it("is its files and the links to files, as in the hub's cache", async () => {
    const folder = mkdtempSync(join(tmpdir(), "graft-files-"));
    try {
      writeFileSync(join(folder, "real.txt"), "abcdef");
      symlinkSync(join(folder, "real.txt"), join(folder, "link.txt"));
      symlinkSync(folder, join(folder, "loop"));
      const files = await openDirectory(folder);
      expect(files.names().sort()).toEqual(["link.txt", "real.txt"]);
      expect(await files.open("link.txt")!.read(2, 4)).toEqual(new TextEncoder().encode("cd"));
      await expect(files.open("real.txt")!.read(2, 7)).rejects.toThrow(/has 6 bytes; bytes 2 to 7/);
      writeFileSync(join(folder, "real.txt"), "abc");
      await expect(files.open("real.txt")!.read(2, 5)).rejects.toThrow(/ended at byte 3; it had 6 before/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("is refused where it is not there", async () => {
    await expect(openDirectory("/nowhere/at/all")).rejects.toThrow(/There is no folder/);
  });
});
