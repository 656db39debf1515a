/** Files as people give them to a page: chosen or dropped, one by one or as a folder. */
import type { AdapterSource, Folder } from "../worker/api.ts";
import { counted } from "./format.ts";

/** How a field takes what people give it; undefined where there is nothing in it. */
export interface PickReader<T> {
  readonly directory: boolean;
  chosen(files: FileList): T | undefined;
  dropped(transfer: DataTransfer): Promise<T | undefined>;
}

export const singleFile: PickReader<File> = {
  directory: false,
  chosen: (files) => files[0],
  dropped: async (transfer) => transfer.files[0],
};

/** Files side by side, or those of a folder that is dropped. */
export const severalFiles: PickReader<readonly File[]> = {
  directory: false,
  chosen: (files) => (files.length > 0 ? [...files] : undefined),
  dropped: async (transfer) => (await droppedFolder(transfer))?.files,
};

export const wholeFolder: PickReader<Folder> = {
  directory: true,
  chosen: chosenFolder,
  dropped: droppedFolder,
};

/** Adapters: each zip and GGUF is one, and all other files together are another. */
export const adapterSources: PickReader<readonly AdapterSource[]> = {
  directory: false,
  chosen: (files) => sourcesOf("chosen files", [...files]),
  dropped: async (transfer) => {
    const folder = await droppedFolder(transfer);
    return folder && sourcesOf(folder.label, folder.files);
  },
};

function sourcesOf(label: string, files: readonly File[]): readonly AdapterSource[] | undefined {
  const isWhole = ({ name }: File) => /\.(zip|gguf)$/i.test(name);
  const others = files.filter((file) => !isWhole(file));
  const folder = others.length > 0 ? [{ label, files: others }] : [];
  const sources = [...files.filter(isWhole), ...folder];
  return sources.length > 0 ? sources : undefined;
}

/** A chosen folder lists the files of its subfolders too; those (`model/onnx/config.json`) are left aside. */
function chosenFolder(files: FileList): Folder | undefined {
  const list = [...files];
  const depth = (file: File) => file.webkitRelativePath.split("/").length;
  const shallowest = Math.min(...list.map(depth));
  const top = list.filter((file) => depth(file) === shallowest);
  const first = top[0];
  return first && { label: first.webkitRelativePath.split("/").at(-2) ?? "chosen files", files: top };
}

/** A dropped folder's own files, or the files that were dropped side by side. */
async function droppedFolder(transfer: DataTransfer): Promise<Folder | undefined> {
  // Entries and files can only be asked for now, while the drop is being handled.
  const loose = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry());
  const directory = entries.find((entry): entry is FileSystemDirectoryEntry => entry?.isDirectory === true);
  if (!directory) return loose.length > 0 ? { label: "dropped files", files: loose } : undefined;
  const inside = await entriesOf(directory);
  const files = inside.filter((entry): entry is FileSystemFileEntry => entry.isFile).map(fileOf);
  // What cannot be read (a link that leads nowhere) is missed, and named, once the model's files are looked for.
  const read = (await Promise.allSettled(files)).flatMap((file) =>
    file.status === "fulfilled" ? [file.value] : [],
  );
  return { label: directory.name, files: read };
}

async function entriesOf(directory: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = directory.createReader();
  const all: FileSystemEntry[] = [];
  // Browsers give a hundred at a time, and an empty list at the end.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return all;
    all.push(...some);
  }
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

export function adapterWords(source: AdapterSource): string {
  return source instanceof File ? source.name : folderWords(source);
}

export function folderWords({ label, files }: Folder): string {
  return `${label} (${counted(files.length, "file")})`;
}
