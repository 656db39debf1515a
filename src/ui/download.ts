import { zipSync } from "fflate";

/** Packs the files without compressing them (trained weights do not shrink) and lets the browser save the zip. */
export function downloadZip(files: Record<string, Uint8Array>, name: string): void {
  const zip = zipSync(files, { level: 0 });
  const address = URL.createObjectURL(
    new Blob([zip as Uint8Array<ArrayBuffer>], { type: "application/zip" }),
  );
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // The browser has begun to save by then.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
