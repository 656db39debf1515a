import type { Row } from "../data/rows.ts";
import { type EncodedRows, type EncodeOptions, encodeRows } from "../data/tokenize.ts";
import type { RowReader } from "../train/rowTokens.ts";

/** Rows that were tokenised: a run is opened anew with every setting that is changed, and most change no token. */
export class EncodedCache {
  private readonly kept = new WeakMap<
    readonly Row[],
    { readonly key: string; readonly encoded: EncodedRows }
  >();

  /** `modelKey` is equal for the same model's files. */
  async encode(
    rows: readonly Row[],
    { tokenizer, options }: RowReader,
    modelKey: string,
    watch: Pick<EncodeOptions, "signal" | "onProgress">,
  ): Promise<EncodedRows> {
    const { template, ...learning } = options;
    const key = JSON.stringify([modelKey, template.source, learning]);
    const known = this.kept.get(rows);
    if (known?.key === key) return known.encoded;
    const encoded = await encodeRows(rows, tokenizer, { ...options, ...watch });
    this.kept.set(rows, { key, encoded });
    return encoded;
  }
}
