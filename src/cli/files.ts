import { existsSync } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { ByteSource, FileSet } from "../base/bytes.ts";
import { DataError, FormatError } from "../base/errors.ts";
import { show } from "../base/json.ts";
import { plural } from "../base/words.ts";
import { rowFormat } from "../data/formats/detect.ts";
import { checkRange, mapFileSet } from "../formats/sources.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { diskError } from "./disk.ts";

/** A file on disk, read in pieces; opened for each read, so nothing is left open. */
export async function fileSource(path: string): Promise<ByteSource> {
  const name = basename(path);
  const found = await stat(path).catch((thrown) => notThere(thrown, path, "file"));
  if (found.isDirectory())
    throw new FormatError("not-a-file", `${path} is a folder, not a file.`, "Name a file in it.");
  const { size } = found;
  return {
    name,
    size,
    async read(start, end) {
      checkRange(name, size, start, end);
      const bytes = new Uint8Array(end - start);
      const handle = await open(path, "r").catch((thrown) => {
        throw diskError(thrown, path, "read");
      });
      try {
        let filled = 0;
        while (filled < bytes.length) {
          const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
          if (bytesRead === 0) {
            throw new FormatError(
              "file-shrank",
              `${name} ended at byte ${start + filled}; it had ${size} before.`,
            );
          }
          filled += bytesRead;
        }
      } finally {
        await handle.close();
      }
      return bytes;
    },
  };
}

/** The files of a folder, without its subfolders. */
export async function openDirectory(path: string): Promise<FileSet> {
  const entries = await readdir(path, { withFileTypes: true }).catch((thrown) =>
    notThere(thrown, path, "folder"),
  );
  const sources = new Map<string, ByteSource>();
  for (const entry of entries) {
    const full = join(path, entry.name);
    // The hub's cache is a folder of links to files.
    const isFile =
      entry.isFile() || (entry.isSymbolicLink() && (await stat(full).catch(() => undefined))?.isFile());
    if (isFile) sources.set(entry.name, await fileSource(full));
  }
  return mapFileSet(resolve(path), sources);
}

/** An adapter: a folder, or one file with it. */
export async function openAdapterPath(path: string): Promise<ByteSource | FileSet> {
  const isFile = (await stat(path).catch(() => undefined))?.isFile() ?? false;
  if (isFile) return fileSource(path);
  const files = await openDirectory(path);
  if (!files.open(CONFIG_FILE)) await refuseFolderOfAdapters(path);
  return files;
}

/** A Trainer's checkpoints, or adapters that have names, lie in folders of their own. */
async function refuseFolderOfAdapters(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true });
  const holds = (folder: string) => existsSync(join(path, folder, CONFIG_FILE));
  const adapters = entries.map(({ name }) => name).filter(holds);
  if (adapters.length === 0) return;
  throw new FormatError(
    "no-adapter-config",
    `${path} holds no ${CONFIG_FILE}; its ${plural(adapters.length, "folder")} ${adapters.slice(0, 20).map(show).join(", ")} ${adapters.length === 1 ? "does" : "do"}.`,
    `Name one adapter: ${join(path, adapters[0]!)}.`,
  );
}

/** Files of rows. A folder stands for all its files whose names tell a format that is read, in the order of their names. */
export async function openRows(paths: readonly string[]): Promise<ByteSource[]> {
  const sources: ByteSource[] = [];
  for (const path of paths) {
    const found = await stat(path).catch((thrown) => notThere(thrown, path, "file or folder"));
    if (!found.isDirectory()) {
      sources.push(await fileSource(path));
      continue;
    }
    const folder = await openDirectory(path);
    const names = folder.names().filter((name) => rowFormat(name) !== undefined);
    if (names.length === 0) {
      throw new DataError(
        "no-rows",
        `${path} holds no file of rows.`,
        "Wanted are .txt, .jsonl, .json, .csv, .tsv or .parquet.",
      );
    }
    sources.push(...names.sort().map((name) => folder.open(name)!));
  }
  return sources;
}

function notThere({ code }: NodeJS.ErrnoException, path: string, kind: string): never {
  if (code === "ENOTDIR" && kind === "folder" && existsSync(path))
    throw new FormatError(
      "not-a-folder",
      `${path} is a file, not a folder.`,
      "Name the folder that it lies in.",
    );
  throw new FormatError("not-found", `There is no ${kind} ${path}.`, "Check the path.");
}
