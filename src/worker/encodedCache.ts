import { type EncodedRow, type EncodedRows, gatherRows } from "../data/encodedRows.ts";
import type { Row } from "../data/rows.ts";
import { type EncodeOptions, encodeEach } from "../data/tokenize.ts";
import type { RowReader } from "../train/rowTokens.ts";

/** What was tokenised is kept in such pieces, should one not wait for all. */
const PIECE_ROWS = 4096;

/**
 * Rows that were tokenised. A run is opened anew with every setting that is changed, and most change no token; and with
 * every row that is changed, and that leaves the others.
 */
export class EncodedCache {
  private key = "";
  private kept = new WeakMap<Row, EncodedRow>();

  /** `modelKey` is equal for the same model's files. */
  async encode(
    rows: readonly Row[],
    { tokenizer, options }: RowReader,
    modelKey: string,
    { signal, onProgress }: Pick<EncodeOptions, "signal" | "onProgress">,
  ): Promise<EncodedRows> {
    const { template, ...learning } = options;
    const key = JSON.stringify([modelKey, template.source, learning]);
    if (key !== this.key) {
      this.key = key;
      this.kept = new WeakMap();
    }
    const { kept } = this;
    const missing = rows.filter((row) => !kept.has(row));
    for (let start = 0; start < missing.length; start += PIECE_ROWS) {
      const piece = missing.slice(start, start + PIECE_ROWS);
      const encoded = await encodeEach(piece, tokenizer, {
        ...options,
        ...(signal && { signal }),
        onProgress: (done) => onProgress?.(start + done, missing.length),
      });
      for (const [i, row] of piece.entries()) kept.set(row, encoded[i]!);
    }
    return gatherRows(
      rows.map((row) => kept.get(row)!),
      template,
    );
  }
}
