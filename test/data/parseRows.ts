import type { ByteSource } from "../../src/base/bytes.ts";
import type { ParsedRows } from "../../src/data/rows.ts";
import { rowsOf, type ShapeOptions } from "../../src/data/shapes.ts";
import { type ReadOptions, readTables } from "../../src/data/table.ts";

/** Files to rows. Throws DataError where a file cannot be read, or a row where faults are refused. */
export async function parseRows(
  sources: ByteSource | readonly ByteSource[],
  options: ReadOptions & ShapeOptions = {},
): Promise<ParsedRows> {
  return rowsOf(await readTables([sources].flat(), options), options);
}
