/** Large files on their way out, in the page's own file system: what a browser does with them no other place can tell. */
import { statSync } from "node:fs";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launchBrowser } from "../../scripts/browser.mjs";
import type { save, zipped } from "../../src/ui/download.ts";
import type { ExportStore } from "../../src/worker/exportStore.ts";
import { newPage } from "./newPage.ts";
import { mebibytesOnDisk } from "./pageDisk.ts";

let server: ViteDevServer;
let browser: Browser;
let context: BrowserContext;
beforeAll(async () => {
  server = await createServer({ cacheDir: "node_modules/.vite-store", logLevel: "error" });
  await server.listen();
  browser = await launchBrowser();
  context = await browser.newContext();
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});

async function open(): Promise<Page> {
  const page = await newPage(context);
  await page.goto(`${server.resolvedUrls!.local[0]}test/e2e/store/index.html`);
  return page;
}

/** What the page's modules give, on its `globalThis`. */
interface Given {
  readonly store: ExportStore;
  readonly zipped: typeof zipped;
  readonly save: typeof save;
  blob: Blob;
}

/** A text, since what is compiled here knows other imports than the page does. */
const LOAD = `Promise.all([import("/src/worker/exportStore.ts"), import("/src/ui/download.ts")]).then(
  ([{ ExportStore }, { zipped, save }]) => {
    const store = new ExportStore(() => navigator.storage.getDirectory());
    Object.assign(globalThis, { store, zipped, save });
  })`;

/** Writes one file of so many MiB, each filled with `value`; gives its size, a few of its bytes and its CRC. */
function write(page: Page, kind: string, mebibytes: number, value: number) {
  return page.evaluate(
    async ([kind, mebibytes, value]) => {
      const given = globalThis as unknown as Given;
      const { store } = given;
      store.begin(kind);
      const { blob, crc32, name } = await store.write({
        name: `${kind}.bin`,
        byteLength: mebibytes * 2 ** 20,
        async *pieces() {
          for (let i = 0; i < mebibytes; i++) yield new Uint8Array(2 ** 20).fill(value);
        },
      });
      given.blob = blob;
      const bytes = new Uint8Array(await blob.slice(blob.size - 2).arrayBuffer());
      return { name, size: blob.size, bytes: [...bytes], crc32 };
    },
    [kind, mebibytes, value] as const,
  );
}

it("puts large files on disk, small ones nowhere, and one of a kind in place of the one before", async () => {
  const page = await open();
  await page.evaluate(LOAD);
  expect(await write(page, "small", 1, 7)).toMatchObject({ size: 2 ** 20, bytes: [7, 7] });
  expect(await mebibytesOnDisk(page)).toEqual([]);
  // CRC-32 of 33 MiB of 0x07, by Python's zlib.
  expect(await write(page, "merged", 33, 7)).toEqual({
    ...{ name: "merged.bin", size: 33 * 2 ** 20, bytes: [7, 7], crc32: 3411636850 },
  });
  await write(page, "gguf", 34, 1);
  expect(await mebibytesOnDisk(page)).toEqual([33, 34]);
  await write(page, "merged", 35, 2);
  expect(await mebibytesOnDisk(page)).toEqual([34, 35]);
  const downloads = page.waitForEvent("download");
  await page.evaluate(() => {
    const { zipped, save, blob } = globalThis as unknown as Given;
    save(zipped([{ name: "a", blob, crc32: 0 }]), "a.zip");
  });
  const path = await (await downloads).path();
  expect(statSync(path).size).toBeGreaterThan(35 * 2 ** 20);

  // A tab that lives keeps its own; one that is gone has left them to whoever comes next.
  const other = await open();
  await other.evaluate(LOAD);
  const sweep = () => other.evaluate(() => (globalThis as unknown as Given).store.sweep());
  await sweep();
  expect(await mebibytesOnDisk(other)).toEqual([34, 35]);
  await page.close();
  await expect
    .poll(async () => {
      await sweep();
      return mebibytesOnDisk(other);
    })
    .toEqual([]);
});

it("takes back what is not handed over, and what another kind left stays", async () => {
  const page = await open();
  await page.evaluate(LOAD);
  await write(page, "merged", 33, 7);
  const discard = () => page.evaluate(() => (globalThis as unknown as Given).store.discard());
  await write(page, "gguf", 34, 1);
  await discard();
  expect(await mebibytesOnDisk(page)).toEqual([33]);
  // A small one, which lies in memory: there is nothing to remove.
  await write(page, "merged", 1, 7);
  await discard();
  expect(await mebibytesOnDisk(page)).toEqual([33]);
  await page.close();
});
