/** What becomes of an export's files where it ends well, is stopped, or breaks. */
import { expect, it } from "vitest";
import type { ByteSource, FileStream } from "../../src/base/bytes.ts";
import { DataError, FormatError } from "../../src/base/errors.ts";
import { textStream } from "../../src/formats/sources.ts";
import type { SelfCheck } from "../../src/train/selfCheck.ts";
import type { Session } from "../../src/train/session.ts";
import { Exporter } from "../../src/worker/exporter.ts";
import { ExportStore } from "../../src/worker/exportStore.ts";

/** Keeps files in memory, as it does without a disk, and notes what it is asked. */
class NotingStore extends ExportStore {
  readonly asked: string[] = [];

  constructor() {
    super(undefined);
  }

  override begin(kind: string): void {
    this.asked.push(`begin ${kind}`);
    super.begin(kind);
  }

  override write(file: FileStream) {
    this.asked.push(`write ${file.name}`);
    return super.write(file);
  }

  override async discard(): Promise<void> {
    this.asked.push("discard");
    await super.discard();
  }
}

const check: SelfCheck = { difference: 0, allowed: 1e-6, moved: 0.5, kept: 1, tokens: 3 };
const facts = { baseModel: "base", dataset: "rows", device: null };

type Write = (file: FileStream) => Promise<ByteSource>;

/** A run whose exports are two files; `between` happens when the first is written. */
function sessionThat(between: (signal: AbortSignal) => void | Promise<void>): Session {
  const session: Pick<Session, "export"> = {
    export: async (_format, _facts, write: Write, { signal, onProgress } = {}) => {
      onProgress?.("write", 0, 2);
      await write(textStream("one", "1"));
      await between(signal!);
      signal!.throwIfAborted();
      await write(textStream("two", "2"));
      return check;
    },
  };
  return session as Session;
}

const ignore = () => {};

it("hands over the files of an export that ends well, in their order", async () => {
  const store = new NotingStore();
  const exporter = new Exporter(store);
  const stages: string[] = [];
  const how = {
    signal: exporter.work.begin(),
    onProgress: ({ stage }: { stage: string }) => stages.push(stage),
  };
  const exported = await exporter.export(sessionThat(ignore), "merged", facts, how);
  expect(exported).toMatchObject({ format: "merged", files: [{ name: "one" }, { name: "two" }], check });
  expect(await exported.files[1]!.blob.text()).toBe("2");
  expect(stages).toEqual(["write"]);
  expect(store.asked).toEqual(["begin merged", "write one", "write two"]);
});

it("takes away what was written where it is stopped, and does the same again when it is asked", async () => {
  const store = new NotingStore();
  const exporter = new Exporter(store);
  const stopped = exporter.export(
    sessionThat(() => exporter.work.stop()),
    "merged",
    facts,
    { signal: exporter.work.begin(), onProgress: ignore },
  );
  await expect(stopped).rejects.toThrow(DataError);
  await expect(stopped).rejects.toMatchObject({ code: "stopped" });
  expect(store.asked).toEqual(["begin merged", "write one", "discard"]);
  const how = { signal: exporter.work.begin(), onProgress: ignore };
  expect((await exporter.export(sessionThat(ignore), "merged", facts, how)).files).toHaveLength(2);
});

it("begins nothing that was stopped before its turn, by itself or by another that is asked for", async () => {
  const store = new NotingStore();
  const exporter = new Exporter(store);
  const first = exporter.work.begin();
  const second = exporter.work.begin();
  exporter.work.stop();
  for (const signal of [first, second]) {
    const waited = exporter.export(sessionThat(ignore), "gguf", facts, { signal, onProgress: ignore });
    await expect(waited).rejects.toMatchObject({ code: "stopped" });
  }
  expect(store.asked).toEqual([]);
});

it("takes away what was written where it is not the trained model", async () => {
  const store = new NotingStore();
  const exporter = new Exporter(store);
  const refused = new FormatError("export-check", "Logits differ.");
  const fails = sessionThat(() => Promise.reject(refused));
  const how = { signal: exporter.work.begin(), onProgress: ignore };
  await expect(exporter.export(fails, "merged", facts, how)).rejects.toBe(refused);
  expect(store.asked).toEqual(["begin merged", "write one", "discard"]);
});
