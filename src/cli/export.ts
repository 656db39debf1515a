/** The command that hands an adapter on in another form: `npm run export -- …`, as USAGE says. */
import { readdir } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { ByteSource, FileStream } from "../base/bytes.ts";
import { ConfigError, DeviceError, FormatError } from "../base/errors.ts";
import { plural } from "../base/words.ts";
import { findChatTemplate } from "../data/chat.ts";
import { openGguf } from "../formats/gguf.ts";
import { bytesFileSet } from "../formats/sources.ts";
import { Gpu } from "../gpu/device.ts";
import { Kernels } from "../gpu/kernels.ts";
import { adapterDifference } from "../lora/exportCheck.ts";
import { readAdapter } from "../lora/readAdapter.ts";
import { adapterOfGguf } from "../lora/readGguf.ts";
import { ggufNames } from "../models/ggufNames.ts";
import { AdaptedModel } from "../train/adaptedModel.ts";
import { adapterFolder } from "../train/adapterFolder.ts";
import { type ExportFormat, exportFiles, type Handed, plainOf } from "../train/exportFiles.ts";
import { exportChecked } from "../train/exports.ts";
import { engineValues } from "../train/initialValues.ts";
import { fitAdapter } from "../train/openAdapter.ts";
import { openModel } from "../train/openModel.ts";
import { withStarts } from "../train/plainAdapter.ts";
import { checkPrompts } from "../train/selfCheck.ts";
import { checkWords } from "./checkWords.ts";
import { type NodeDevice, requestNodeDevice } from "./device.ts";
import { openAdapterPath, openDirectory } from "./files.ts";
import { StagedFiles } from "./staged.ts";
import { startTemplateThread } from "./templates.ts";
import { readArguments } from "./usage.ts";

const USAGE = `npm run export -- ADAPTER --model MODEL_DIR --to gguf --out FILE.gguf [--base NAME]
  npm run export -- ADAPTER --model MODEL_DIR --to merged --out DIR
  npm run export -- ADAPTER --model MODEL_DIR --to merged-gguf --out FILE.gguf [--dtype f32|f16|q8_0]
ADAPTER is a folder, a zip of one or a GGUF adapter.`;

/** The types of the forms that come in one alone. */
const KEPT_TYPES = {
  gguf: "a GGUF adapter is f32",
  merged: "a checkpoint is of the base's own types",
};

function givenArguments() {
  const options = {
    model: { type: "string" },
    to: { type: "string" },
    out: { type: "string" },
    base: { type: "string" },
    dtype: { type: "string" },
  } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const { model, to, out, base, dtype } = values;
  const [adapter] = positionals;
  if (positionals.length > 1) throw new Error(`${positionals.length} adapters are given`);
  if (adapter === undefined || model === undefined || to === undefined || out === undefined)
    throw new Error("An adapter, --model, --to and --out must be given");
  if (to !== "gguf" && to !== "merged" && to !== "merged-gguf")
    throw new Error(`--to is ${to}, not gguf, merged or merged-gguf`);
  if (to !== "merged" && !out.endsWith(".gguf")) throw new Error(`--out is ${out}, not a .gguf`);
  if (dtype !== undefined && to !== "merged-gguf")
    throw new Error(`--dtype is for --to merged-gguf; ${KEPT_TYPES[to]}`);
  if (base !== undefined && to !== "gguf")
    throw new Error("--base is for --to gguf; a merged model needs no other beside it");
  const type = dtype ?? "f16";
  if (type !== "f32" && type !== "f16" && type !== "q8_0")
    throw new Error(`--dtype is ${type}, not f32, f16 or q8_0`);
  const format: ExportFormat = to === "merged-gguf" ? `merged-gguf-${type}` : to;
  return { adapter, model, format, out: resolve(out), base: base ?? resolve(model) } as const;
}

type Given = ReturnType<typeof givenArguments>;

async function openHanded(given: Given): Promise<Handed> {
  const base = await openDirectory(given.model);
  const opened = await openModel(base);
  const adapter = await adapterFolder(await openAdapterPath(given.adapter), opened.model.config);
  return {
    ...{ opened, base, adapter, startTemplates: startTemplateThread },
    baseName: given.base,
    ggufName: () => basename(given.out),
    template: (await findChatTemplate(adapter)) ?? opened.template,
  };
}

/** On what what was written is run; undefined where there is nothing. */
async function findDevice(): Promise<NodeDevice | undefined> {
  try {
    return await requestNodeDevice();
  } catch (thrown) {
    if (thrown instanceof DeviceError) return undefined;
    throw thrown;
  }
}

/** Writes the files and says how far what was written is from the adapter on its base. */
async function written(
  { format }: Given,
  handed: Handed,
  write: (file: FileStream) => Promise<ByteSource>,
): Promise<string> {
  const node = await findDevice();
  if (!node) return writtenUnrun(format, handed, write);
  const gpu = new Gpu(node.device);
  const { model, tokenizer } = handed.opened;
  const adapter = await withStarts(await fitAdapter(await readAdapter(handed.adapter), model), model);
  const live = new AdaptedModel({
    ...{ gpu, kernels: new Kernels(gpu), model, selection: adapter.selection },
    ...{ initial: engineValues(model, adapter), loraDropout: 0, trains: false },
  });
  const ids = Uint32Array.from(tokenizer.encode("Once upon a time there was a house by the river."));
  const prompts = checkPrompts([{ ids }], model.config);
  const check = await exportChecked(format, { ...handed, live, prompts }, write);
  node.device.destroy();
  return checkWords(check);
}

/** f32 rounds what is folded into B, and the alpha: twice 6e-8. */
const TOLERANCE = 1e-6;

/** Without a device a GGUF adapter is compared tensor by tensor. */
async function writtenUnrun(
  format: ExportFormat,
  handed: Handed,
  write: (file: FileStream) => Promise<ByteSource>,
): Promise<string> {
  const { files } = await exportFiles(format, handed);
  const sources: ByteSource[] = [];
  for (const file of files) sources.push(await write(file));
  if (format !== "gguf") return "not run: there is no GPU, and no driver that could stand in";
  const { model } = handed.opened;
  const again = await adapterOfGguf(await openGguf(sources[0]!), ggufNames(model.config), "the export");
  const { files: plain } = await plainOf(handed);
  const difference = await adapterDifference(await readAdapter(bytesFileSet("the export", again)), plain);
  if (difference <= TOLERANCE)
    return `A and scale·B differ by ${difference.toExponential(1)} of their largest at most`;
  throw new FormatError(
    "export-check",
    `The file, read back, differed from the adapter by ${difference} of its largest value; ${TOLERANCE} is allowed.`,
    "No file was written. This is a defect in Graft: please report it.",
  );
}

/** The base itself may be what is there. */
async function refuseFilled(folder: string): Promise<void> {
  const there = await readdir(folder).catch(() => []);
  if (there.length === 0) return;
  throw new ConfigError(
    "out-filled",
    `--out ${folder} holds ${there.length} files already.`,
    "Name a folder that is empty or not there yet.",
  );
}

async function main(): Promise<void> {
  const given = readArguments(USAGE, givenArguments);
  const { format, out } = given;
  if (format === "merged") await refuseFilled(out);
  const staged = new StagedFiles(format === "merged" ? out : dirname(out));
  await staged.check();
  const handed = await openHanded(given);
  const { files, notes } = await exportFiles(format, handed);
  try {
    const found = await written(given, handed, (file) => staged.write(file));
    staged.keep();
    const bytes = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
    console.log(`written    ${out}, ${files.length} ${plural(files.length, "file")}, ${bytes} bytes`);
    console.log(`read back  ${found}`);
  } finally {
    staged.discard();
  }
  const { warnings } = (await plainOf(handed)).adapter;
  for (const note of [...warnings, ...notes]) console.log(`note       ${note}`);
}

await main();
