import { zipFrame } from "../formats/zip-writer.ts";
import type { KeptFile } from "../worker/api.ts";

/** Files as a zip, put together without a copy of them: trained weights would not shrink. */
export function zipped(files: readonly KeptFile[]): Blob {
  const entries = files.map(({ name, blob, crc32 }) => ({ name, byteLength: blob.size, crc32 }));
  const { before, after } = zipFrame(entries);
  const parts = files.flatMap(({ blob }, i) => [before[i] as Uint8Array<ArrayBuffer>, blob]);
  return new Blob([...parts, after as Uint8Array<ArrayBuffer>], { type: "application/zip" });
}

/** Lets the browser save what may lie on its disk already. */
export function save(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The browser has begun to save by then.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
