import type { FileStream } from "../../src/base/bytes.ts";

/** The bytes of a file that is made in pieces. */
export async function bytesOf(stream: FileStream): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream.pieces()) pieces.push(piece);
  return new Uint8Array(Buffer.concat(pieces));
}
