/** What the page hands over, as the engine reads it. */
import type { FileSet } from "../base/bytes.ts";
import { readJsonObject } from "../base/read-json.ts";
import type { FoundTemplate } from "../data/chat.ts";
import { blobFileSet, blobSource } from "../formats/sources.ts";
import type { AdapterSource as OpenedSource } from "../train/adapterFolder.ts";
import { parseRunFile, type RunConfig } from "../train/runFile.ts";
import type { AdapterSource, DataRequest, Folder, OpenRequest } from "./api.ts";

export function folderOf({ label, files }: Folder): FileSet {
  return blobFileSet(label, files);
}

export function adapterOf(source: AdapterSource): OpenedSource {
  return source instanceof File ? blobSource(source, source.name) : folderOf(source);
}

export async function runOf({ run }: DataRequest): Promise<RunConfig> {
  if (!(run instanceof File)) return parseRunFile(run, "the run");
  return parseRunFile(await readJsonObject(blobSource(run, run.name)), run.name);
}

export async function templateOf({ chatTemplate }: OpenRequest): Promise<FoundTemplate | undefined> {
  return chatTemplate && { template: await chatTemplate.text() };
}

/** Equal for files that have not changed. */
export function filesKey(files: readonly File[]): string {
  return JSON.stringify(files.map(({ name, size, lastModified }) => [name, size, lastModified]));
}
