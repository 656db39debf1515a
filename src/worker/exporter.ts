/** What a run has trained, on its way to the page. */
import type { FileStream } from "../base/bytes.ts";
import { blobSource } from "../formats/sources.ts";
import type { Session } from "../train/session.ts";
import type { ExportFacts } from "../train/trainedFiles.ts";
import type { Exported, ExportFormat, Progress } from "./api.ts";
import type { ExportStore, KeptFile } from "./exportStore.ts";
import { Stoppable } from "./stoppable.ts";

export class Exporter {
  private readonly store: ExportStore;
  readonly work = new Stoppable("It was stopped before it was written and read back.", "Ask for it again.");

  constructor(store: ExportStore) {
    this.store = store;
  }

  /** Throws where it was stopped or what was written is not the trained model: then nothing of it is handed over or kept. */
  async export(
    session: Session,
    format: ExportFormat,
    facts: ExportFacts,
    { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: Progress) => void },
  ): Promise<Exported> {
    signal.throwIfAborted();
    this.store.begin(format);
    const files: KeptFile[] = [];
    const write = async (file: FileStream) => {
      const kept = await this.store.write(file);
      files.push(kept);
      return blobSource(kept.blob, kept.name);
    };
    try {
      const check = await session.export(format, facts, write, {
        signal,
        onProgress: (stage, done, total) => onProgress({ stage, done, total }),
      });
      return { format, files, check };
    } catch (thrown) {
      // Why it broke counts more than what may stay on the disk until the next of its kind.
      await this.store.discard().catch(() => {});
      throw thrown;
    }
  }
}
