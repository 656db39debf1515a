import type { ByteSource } from "./bytes.ts";
import { FormatError } from "./errors.ts";
import { isJsonObject, type JsonObject } from "./json.ts";

const MAX_BYTES = 100_000_000;

/** The whole of a small text file as a JSON object. Throws FormatError: too large, not UTF-8, not a JSON object. */
export async function readJsonObject(source: ByteSource): Promise<JsonObject> {
  if (source.size > MAX_BYTES) {
    const found = `${source.name} has ${source.size} bytes, ${MAX_BYTES} are allowed.`;
    throw new FormatError("json-too-large", found);
  }
  const bytes = await source.read(0, source.size);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (thrown) {
    const why = thrown instanceof SyntaxError ? "is not JSON" : "is not UTF-8 text";
    throw new FormatError("json", `${source.name} ${why}.`, "Download the file again.");
  }
  if (isJsonObject(value)) return value;
  throw new FormatError("json", `${source.name} does not hold a JSON object.`, "Download the file again.");
}
