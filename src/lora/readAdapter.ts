import type { FileSet, StoredTensor, StoredType } from "../base/bytes.ts";
import { FormatError, ShapeError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { show } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import { FLOAT_TYPES, toFloat32 } from "../formats/floats.ts";
import { openSafetensors } from "../formats/safetensors.ts";
import {
  type AdapterEntry,
  baseParameterOf,
  CONFIG_FILE,
  fileEntries,
  loraKey,
  otherHalf,
  savedKey,
  WEIGHTS_FILE,
  wholeKey,
  writtenTwice,
} from "./adapterKeys.ts";
import { type LoraConfig, parseAdapterConfig } from "./config.ts";
import type { ModuleDescriptor } from "./modules.ts";
import type { Selection } from "./selection.ts";
import { selectModules } from "./targets.ts";
import { transposed } from "./transposed.ts";

/** An adapter folder whose config and header have been checked; no tensor has been read yet. */
export interface AdapterFiles {
  readonly label: string;
  readonly config: LoraConfig;
  /** adapter_config.json as it stood, for the export. */
  readonly given: JsonObject;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly warnings: readonly string[];
}

/** An adapter as it applies to one base model. */
export interface LoadedAdapter {
  readonly selection: Selection;
  /** Every tensor of the selection, by PEFT's key. */
  readonly values: ReadonlyMap<string, Float32Array>;
  /** Copies of base parameters that PEFT wrote along: they belong into the export as they are. */
  readonly kept: readonly StoredTensor[];
  /** How the file stores each tensor of the selection. */
  readonly types: ReadonlyMap<string, StoredType>;
  readonly warnings: readonly string[];
}

const CHOOSE =
  "Choose the folder that PEFT's save_pretrained wrote; an adapter not called default lies in one of its own name there.";
const MLX_WEIGHTS_FILE = "adapters.safetensors";
/** Room for a rank of every module of the largest models by name. */
const MAX_CONFIG_BYTES = 2_000_000;

/** Reads the config and the header of an adapter folder as PEFT's save_pretrained writes it. */
export async function readAdapter(files: FileSet): Promise<AdapterFiles> {
  const configSource = files.open(CONFIG_FILE);
  if (!configSource) {
    throw new FormatError(
      "no-adapter-config",
      `${files.label} holds no ${CONFIG_FILE}; it holds ${show(files.names().slice(0, 20))}.`,
      CHOOSE,
    );
  }
  const weightsSource = files.open(WEIGHTS_FILE);
  if (!weightsSource) throw noWeights(files);
  const given = await readJsonObject(configSource, MAX_CONFIG_BYTES);
  const { config, warnings } = parseAdapterConfig(given, CONFIG_FILE);
  const { tensors: stored } = await openSafetensors(weightsSource);
  const tensors = new Map([...stored].map(([key, tensor]) => [keyIn(stored, key), tensor]));
  return { label: files.label, config, given, tensors, warnings };
}

/** A key in PEFT's saved form, unless the file has that one, too. */
function keyIn(stored: ReadonlyMap<string, StoredTensor>, key: string): string {
  const saved = savedKey(key);
  return stored.has(saved) ? key : saved;
}

function noWeights(files: FileSet): FormatError {
  const pickle = files.names().find((name) => /\.(bin|pt|pth|ckpt|pkl)$/.test(name));
  if (pickle === undefined) {
    const isMlx = files.names().includes(MLX_WEIGHTS_FILE);
    return new FormatError(
      "no-adapter-weights",
      `${files.label} holds no ${WEIGHTS_FILE}${isMlx ? `, but mlx-lm's ${MLX_WEIGHTS_FILE}` : ""}.`,
      isMlx ? "Merge it with mlx_lm.fuse, and open the merged model." : CHOOSE,
    );
  }
  return new FormatError(
    "pickle",
    `${files.label} holds its weights in ${pickle}, a Python pickle: reading one runs whatever code is in it.`,
    "Load the adapter in PEFT and save it again: save_pretrained writes safetensors.",
  );
}

/**
 * Reads an adapter's tensors for a base model, checking that they are exactly those that its config asks for.
 * `baseTensor` gives a parameter of the base model as its checkpoint stores it.
 */
export async function loadAdapter(
  adapter: AdapterFiles,
  modules: readonly ModuleDescriptor[],
  modelType: string,
  baseTensor: (name: string) => StoredTensor | undefined,
): Promise<LoadedAdapter> {
  const selection = selectModules(modules, adapter.config, {
    modelType,
    origin: "adapter",
    path: CONFIG_FILE,
  });
  const entries = fileEntries(selection);
  const copies = copiesIn(adapter, entries, selection, modules);
  checkKeys(adapter, entries, copies, selection);
  for (const tensor of adapter.tensors.values()) checkType(adapter, tensor);
  for (const entry of entries) checkShape(adapter, entry);
  const warnings = [...adapter.warnings, ...selection.warnings];
  const kept: StoredTensor[] = [];
  const begun = selection.lora.filter(({ fromBase }) => fromBase !== null);
  const remainders = new Set(begun.map(({ module }) => `${module.name}.weight`));
  for (const [key, name] of copies) {
    // What pissa and olora leave of a weight is computed again with what they took, by PEFT too.
    if (remainders.has(name)) continue;
    const tensor = adapter.tensors.get(key)!;
    const found = await compareWithBase(adapter, tensor, name, baseTensor(name));
    if (found) warnings.push(found);
    kept.push(tensor);
  }
  const values = new Map<string, Float32Array>();
  for (const { key } of entries) values.set(key, await readFinite(adapter, adapter.tensors.get(key)!));
  checkTies(adapter, selection, values);
  const types = new Map(entries.map(({ key }) => [key, adapter.tensors.get(key)!.dtype]));
  return { selection, values, kept, types, warnings };
}

/**
 * Copies of base parameters that PEFT writes beside an adapter, with their names in the base: of an adapted embedding
 * or head below `base_layer`, with `save_embedding_layers` of others too, and of those that train.
 */
function copiesIn(
  { tensors }: AdapterFiles,
  entries: readonly AdapterEntry[],
  selection: Selection,
  modules: readonly ModuleDescriptor[],
): Map<string, string> {
  const own = new Set(entries.map(({ key }) => key));
  const adapted = new Set(selection.lora.map(({ module }) => module.name));
  const wrapped = trainedModules(selection);
  const tables = modules.filter(({ kind }) => kind === "embedding" || kind === "head");
  const free = new Set(tables.map(({ name }) => name).filter((name) => !adapted.has(name)));
  const copies = new Map<string, string>();
  for (const key of tensors.keys()) {
    const base = own.has(key) ? undefined : baseParameterOf(key);
    if (base && (base.isBelow ? wrapped : free).has(base.module)) copies.set(key, base.name);
  }
  return copies;
}

function trainedModules({ lora, whole, tokens }: Selection): ReadonlySet<string> {
  return new Set([...lora, ...whole, ...tokens].map(({ module }) => module.name));
}

function checkKeys(
  adapter: AdapterFiles,
  entries: readonly AdapterEntry[],
  copies: ReadonlyMap<string, string>,
  selection: Selection,
): void {
  const expected = new Set(entries.map(({ key }) => key));
  for (const entry of entries) {
    if (adapter.tensors.has(entry.key)) continue;
    const other = otherHalf(entry.key);
    const half = other !== undefined && adapter.tensors.has(other);
    const stray = [...adapter.tensors.keys()].find((key) => !expected.has(key) && !copies.has(key));
    const instead = stray === undefined ? "" : `; it holds ${show(stray)}`;
    throw new FormatError(
      half ? "half-missing" : "tensor-missing",
      half
        ? `${adapter.label}: ${WEIGHTS_FILE} holds ${show(other)} without its other half, ${show(entry.key)}.`
        : `${adapter.label}: ${WEIGHTS_FILE} lacks ${show(entry.key)}, which ${CONFIG_FILE} asks for${instead}.`,
      "The file is not whole, does not belong to this config, or has other names than save_pretrained writes.",
    );
  }
  const trained = trainedModules(selection);
  for (const key of adapter.tensors.keys()) {
    if (expected.has(key) || copies.has(key) || trained.has(writtenTwice(key) ?? "")) continue;
    throw new FormatError(
      "unknown-tensor",
      `${adapter.label}: ${WEIGHTS_FILE} holds ${show(key)}, which belongs to no module that ${CONFIG_FILE} names.`,
      nameHead(adapter, key) ?? "Was the adapter trained on another model?",
    );
  }
}

/** The remedy where PEFT has left a tied head's name out of the config, and would not know it again: GPT-2's. */
function nameHead({ config }: AdapterFiles, key: string): string | undefined {
  if (!config.ensure_weight_tying || !key.startsWith(wholeKey("lm_head", ""))) return undefined;
  const setting = /\.(base_layer|lora_[AB])\./.test(key) ? "target_modules" : "modules_to_save";
  return `PEFT has left the tied head out of what it saved: add "lm_head" to ${setting} in ${CONFIG_FILE}, and both open it tied.`;
}

function checkType({ label }: AdapterFiles, { name, dtype }: StoredTensor): void {
  if (FLOAT_TYPES.includes(dtype)) return;
  throw new FormatError(
    "not-float",
    `${label}: ${name} is of type ${dtype}, expected one of ${FLOAT_TYPES.join(", ")}.`,
    "Load the adapter in PEFT and save it again.",
  );
}

function checkShape(adapter: AdapterFiles, entry: AdapterEntry): void {
  const { shape } = adapter.tensors.get(entry.key)!;
  if (shape.length === entry.shape.length && shape.every((size, i) => size === entry.shape[i])) return;
  const rankAxis = entry.part === "lora_A" ? 0 : entry.part === "lora_B" ? 1 : undefined;
  const onlyRank =
    rankAxis !== undefined && shape.length === 2 && shape[1 - rankAxis] === entry.shape[1 - rankAxis];
  throw new ShapeError(
    onlyRank ? "rank-mismatch" : "shape-mismatch",
    `${adapter.label}: ${entry.key} is [${shape}], expected [${entry.shape}] ${
      onlyRank ? `by the rank that ${CONFIG_FILE} gives it` : "to fit the base model"
    }.`,
    onlyRank
      ? `Do ${CONFIG_FILE} and ${WEIGHTS_FILE} belong together?`
      : "Was the adapter trained on another model?",
  );
}

/** What is tied must agree: PEFT would take whichever it read last for both. */
function checkTies(
  adapter: AdapterFiles,
  { lora, whole }: Selection,
  values: ReadonlyMap<string, Float32Array>,
): void {
  const check = (key: string, other: string, expected = values.get(other)!) => {
    const found = values.get(key)!;
    const at = found.findIndex((value, i) => value !== expected[i]);
    if (at === -1) return;
    throw new FormatError(
      "tied-differ",
      `${adapter.label}: ${key} holds ${found[at]} at index ${at}, and ${other}, to which ensure_weight_tying ties it, ${expected[at]}.`,
      "Which of the two was meant cannot be told; save the adapter anew.",
    );
  };
  for (const { key, tiedTo } of whole) if (tiedTo !== undefined) check(key, tiedTo);
  for (const { module, tiedTo, r } of lora) {
    if (!tiedTo) continue;
    const [a, b] = [loraKey(tiedTo.name, "lora_A", tiedTo.kind), loraKey(tiedTo.name, "lora_B", tiedTo.kind)];
    check(loraKey(module.name, "lora_A"), b, transposed(values.get(b)!, module.inFeatures));
    check(loraKey(module.name, "lora_B"), a, transposed(values.get(a)!, r));
  }
}

async function readFinite(adapter: AdapterFiles, tensor: StoredTensor): Promise<Float32Array> {
  const values = toFloat32(await tensor.read(), tensor.dtype);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad === -1) return values;
  throw new FormatError(
    "not-finite",
    `${adapter.label}: ${tensor.name} holds ${values[bad]} at index ${bad}.`,
    "The training that made it diverged; take an earlier checkpoint.",
  );
}

/** Elements compared at a time: a head of a large vocabulary is not held twice. */
const COMPARED_AT_ONCE = 1 << 20;
/** PEFT writes what it had loaded, which may have been rounded to bf16: one part in 2⁸. */
const ROUNDING = 2 ** -8;

/** Checks a copy of a base parameter against the base model. Gives a warning where they differ by rounding. */
async function compareWithBase(
  adapter: AdapterFiles,
  copy: StoredTensor,
  baseName: string,
  base: StoredTensor | undefined,
): Promise<string | undefined> {
  const count = copy.shape.reduce((product, size) => product * size, 1);
  if (!base) {
    throw new FormatError(
      "unknown-tensor",
      `${adapter.label}: ${copy.name} is a copy of ${baseName}, which the base model does not have.`,
      "Was the adapter trained on another model?",
    );
  }
  if (base.shape.length !== copy.shape.length || base.shape.some((size, i) => size !== copy.shape[i])) {
    throw new ShapeError(
      "shape-mismatch",
      `${adapter.label}: ${copy.name} is [${copy.shape}], expected [${base.shape}] as ${baseName} of the base model.`,
      "Was the adapter trained on another model, or its vocabulary resized?",
    );
  }
  const width = (tensor: StoredTensor) => tensor.byteLength / Math.max(count, 1);
  let rounded = false;
  for (let start = 0; start < count; start += COMPARED_AT_ONCE) {
    const end = Math.min(count, start + COMPARED_AT_ONCE);
    const read = async (tensor: StoredTensor) =>
      toFloat32(await tensor.read(start * width(tensor), end * width(tensor)), tensor.dtype);
    const [found, wanted] = [await read(copy), await read(base)];
    for (let i = 0; i < found.length; i++) {
      if (found[i] === wanted[i]) continue;
      rounded = true;
      if (Math.abs(found[i]! - wanted[i]!) <= ROUNDING * Math.abs(wanted[i]!)) continue;
      throw new FormatError(
        "other-base",
        `${adapter.label}: ${copy.name} holds ${found[i]} at index ${start + i}, ${baseName} of the base model ${wanted[i]}.`,
        nameHead(adapter, copy.name) ??
          "PEFT would put it in the base's place, which Graft does not: take the model that the adapter was trained on.",
      );
    }
  }
  return rounded
    ? `${copy.name} equals ${baseName} of the base model only after rounding; the base model's values are used.`
    : undefined;
}
