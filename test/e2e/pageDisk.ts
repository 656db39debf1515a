/** What lies in a page's own file system. */
import type { Page } from "playwright-core";

/** The sizes of all files in MiB, the smallest first. */
export function mebibytesOnDisk(page: Page): Promise<number[]> {
  return page.evaluate(async () => {
    const sizes: number[] = [];
    const walk = async (folder: FileSystemDirectoryHandle): Promise<void> => {
      for await (const handle of folder.values()) {
        if (handle.kind === "directory") await walk(handle as FileSystemDirectoryHandle);
        else sizes.push((await (handle as FileSystemFileHandle).getFile()).size / 2 ** 20);
      }
    };
    await walk(await navigator.storage.getDirectory());
    return sizes.sort((a, b) => a - b);
  });
}
