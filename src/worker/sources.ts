/** What the page hands over, as the engine reads it. */
import type { FileSet } from "../base/bytes.ts";
import { blobFileSet, blobSource } from "../formats/sources.ts";
import type { AdapterSource as OpenedSource } from "../train/adapterFolder.ts";
import type { AdapterSource, Folder } from "./api.ts";

export function folderOf({ label, files }: Folder): FileSet {
  return blobFileSet(label, files);
}

export function adapterOf(source: AdapterSource): OpenedSource {
  return source instanceof File ? blobSource(source, source.name) : folderOf(source);
}
