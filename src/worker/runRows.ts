/** The rows that were read: kept as their files have them, meant as a run says, tokenised as its model reads them. */
import { ConfigError, failure, success } from "../base/errors.ts";
import type { EncodedRows } from "../data/encodedRows.ts";
import type { Row } from "../data/rows.ts";
import { blobSource } from "../formats/sources.ts";
import type { Dataset } from "../train/dataset.ts";
import type { TrainConfig } from "../train/fields.ts";
import { OpenData } from "../train/openData.ts";
import { type RowReader, rowTokens } from "../train/rowTokens.ts";
import type { DataEdit, DataFacts, DataRequest, Folder, Progress, RecordLine, RecordView } from "./api.ts";
import { EncodedCache } from "./encodedCache.ts";
import { filesKey } from "./sources.ts";
import { Stoppable } from "./stoppable.ts";
import { seldom } from "./telling.ts";

/** What can be stopped while it works, and tells how far it has come. */
interface Watched {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

export class RunRows {
  private readonly data = new OpenData();
  /** How the rows that were read last are meant. */
  private meaning: { train: TrainConfig; faulty: "refuse" | "skip" } | undefined;
  private readonly encoded = new EncodedCache();
  /** Rows that are asked for: what counts is what is asked for last. */
  readonly reading = new Stoppable(
    "It was stopped before all rows were read.",
    "Press Train, and it goes on.",
  );

  async read(
    { data, heldOut = [], faulty = "refuse" }: DataRequest,
    train: TrainConfig,
    { signal, onProgress }: Watched,
  ): Promise<DataFacts> {
    const sourcesOf = (files: readonly File[]) => files.map((file) => blobSource(file, file.name));
    const key = `${filesKey(data)} ${filesKey(heldOut)}`;
    const tell = seldom(onProgress);
    const sources = { train: sourcesOf(data), heldOut: sourcesOf(heldOut), key };
    await this.data.read(sources, train, {
      signal,
      onProgress: (done, total) => tell({ stage: "read", done, total }),
    });
    this.meaning = { train, faulty };
    return this.facts();
  }

  edit(edit: DataEdit): DataFacts {
    this.data.edit(edit);
    return this.facts();
  }

  lines(first: number, count: number): readonly RecordLine[] {
    return this.data.lines(first, count);
  }

  /** One record, with its tokens as `reader` reads them, where there is one. */
  async record(record: number, reader: RowReader | undefined): Promise<RecordView> {
    const values = this.data.values(record);
    const row = this.data.row(record);
    const tokens = row && reader && (await rowTokens(row, reader).then(success, failure));
    return { values, tokens };
  }

  /** The rows to train on, and those that are held out. */
  dataset(): Dataset {
    const { train, faulty } = this.known();
    return this.data.dataset(train, faulty);
  }

  /** Tokenises rows, as far as they were not tokenised before for this model. */
  encode(
    rows: readonly Row[],
    reader: RowReader,
    model: Folder,
    { signal, onProgress }: Watched,
  ): Promise<EncodedRows> {
    return this.encoded.encode(rows, reader, filesKey(model.files), {
      signal,
      onProgress: (done, total) => onProgress({ stage: "encode", done, total }),
    });
  }

  private facts(): DataFacts {
    const { train, faulty } = this.known();
    return this.data.facts(train, faulty);
  }

  private known() {
    if (this.meaning) return this.meaning;
    throw new ConfigError("no-data", "No data was read.", "Choose data first.");
  }
}
