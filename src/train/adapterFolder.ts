import type { ByteSource, FileSet } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { openGguf } from "../formats/gguf.ts";
import { bytesFileSet } from "../formats/sources.ts";
import { openZip } from "../formats/zip.ts";
import { CONFIG_FILE } from "../lora/adapterKeys.ts";
import { adapterOfGguf } from "../lora/readGguf.ts";
import { ggufNames } from "../models/ggufNames.ts";
import type { ModelConfig } from "../models/modelConfig.ts";

/** An adapter as PEFT saves it: its folder; or one file, a zip of that, or a GGUF adapter of this model. */
export type AdapterSource = FileSet | ByteSource;

/** The folder that PEFT would have saved. */
export async function adapterFolder(source: AdapterSource, config: ModelConfig): Promise<FileSet> {
  return "open" in source ? source : unpackedAdapter(source, config);
}

async function unpackedAdapter(file: ByteSource, config: ModelConfig): Promise<FileSet> {
  const magic = new TextDecoder("latin1").decode(await file.read(0, Math.min(4, file.size)));
  if (magic.startsWith("PK")) return openZip(file, CONFIG_FILE);
  if (magic === "GGUF") {
    const files = await adapterOfGguf(await openGguf(file), ggufNames(config), file.name);
    return bytesFileSet(file.name, files);
  }
  throw new FormatError(
    "no-adapter",
    `${file.name} is no adapter in one file.`,
    "Choose an adapter's folder, such a folder in a zip, or a GGUF adapter.",
  );
}
