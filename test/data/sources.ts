/** Files that a test makes up. */
import type { ByteSource } from "../../src/base/bytes.ts";

export function sourceOf(name: string, content: string | Uint8Array): ByteSource {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return { name, size: bytes.length, read: async (start, end) => bytes.slice(start, end) };
}
