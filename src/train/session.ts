/** A run from files to files: opens a checkpoint, rows and maybe an adapter, and gives back the adapter's files. */
import type { FileSet } from "../base/bytes.ts";
import { ConfigError, FormatError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { readJsonObject } from "../base/read-json.ts";
import type { TextRow } from "../data/rows.ts";
import { type TokenisedRows, tokenizeRows } from "../data/tokenize.ts";
import { loadTokenizer } from "../data/tokenizer.ts";
import { openCheckpointTensors } from "../formats/checkpoint.ts";
import { toFloat32 } from "../formats/floats.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import { type AdapterEntry, adapterEntries, loraKey } from "../lora/adapterKeys.ts";
import { compareWithAdapter } from "../lora/compare.ts";
import { exportConfig, reexportConfig } from "../lora/exportConfig.ts";
import { initialHalves } from "../lora/init.ts";
import { modelCard } from "../lora/modelCard.ts";
import { type AdapterFiles, type LoadedAdapter, loadAdapter, readAdapter } from "../lora/readAdapter.ts";
import { type Selection, selectModules } from "../lora/targets.ts";
import { writeAdapter } from "../lora/writeAdapter.ts";
import { parseModelConfig } from "../models/config.ts";
import { checkpointTensor, transpose } from "../models/frozen.ts";
import { Model } from "../models/transformer.ts";
import { AdaptedModel } from "./adaptedModel.ts";
import { logitsOf } from "./logits.ts";
import { type RunConfig, runFileOf } from "./runFile.ts";
import { type Progress, type StepReport, Trainer } from "./trainer.ts";

export interface SessionSources {
  readonly model: FileSet;
  readonly rows: readonly TextRow[];
  readonly run: RunConfig;
  /** An adapter to start from. */
  readonly adapter?: FileSet | undefined;
}

/** What people are told before the first step. */
export interface SessionSummary {
  readonly modelType: string;
  readonly parameters: number;
  /** Name and shape of everything that trains. */
  readonly trainable: readonly { readonly key: string; readonly shape: readonly number[] }[];
  readonly trainableCount: number;
  readonly tokenised: TokenisedRows;
  readonly steps: number;
  readonly memory: Trainer["memory"];
  readonly warnings: readonly string[];
}

export class Session {
  readonly summary: SessionSummary;
  readonly trainer: Trainer;
  readonly adapted: AdaptedModel;
  readonly reports: StepReport[] = [];
  private readonly sources: SessionSources;
  private readonly loaded: { files: AdapterFiles; adapter: LoadedAdapter } | undefined;

  /** Reads headers, rows and configs, traces and plans. The device holds nothing until `trainer.prepare`. */
  static async open(
    gpu: Gpu,
    kernels: Kernels,
    sources: SessionSources,
    options: { readonly onProgress?: Progress | undefined; readonly submitMs?: number | undefined } = {},
  ): Promise<Session> {
    const { model: files, run } = sources;
    if (run.train.eval_steps !== null) {
      throw new ConfigError(
        "not-there-yet",
        `train.eval_steps is ${run.train.eval_steps}, but there are no held-out rows yet.`,
        "Leave eval_steps out.",
      );
    }
    const configSource = files.open("config.json");
    if (!configSource) {
      throw new FormatError(
        "no-config",
        `${files.label} holds no config.json.`,
        "Choose a folder with a Hugging Face checkpoint: config.json, tokenizer.json and .safetensors.",
      );
    }
    const config = parseModelConfig(await readJsonObject(configSource));
    const tensors = await openCheckpointTensors(files);
    const model = new Model(config, tensors);
    const tokenizer = await loadTokenizer(files);
    const tokenised = tokenizeRows(sources.rows, tokenizer, {
      eosToken: tokenizer.eosToken,
      maxLength: Math.min(run.train.max_length, config.rotary ? run.train.max_length : config.maxPositions),
      vocabSize: config.vocabSize,
    });
    const loaded = sources.adapter && (await openAdapter(sources.adapter, model, run, tensors));
    const selection =
      loaded?.adapter.selection ??
      selectModules(model.modules, run.lora, { modelType: config.modelType, origin: "run", path: "lora" });
    const adapted = new AdaptedModel({
      gpu,
      kernels,
      model,
      selection,
      loraDropout: (loaded?.files.config ?? run.lora).lora_dropout,
      initial: await initialValues(model, selection, run, loaded?.adapter),
    });
    const trainer = new Trainer({ adapted, train: run.train, rows: tokenised.rows, ...options });
    const warnings = [...(loaded?.warnings ?? []), ...selection.warnings];
    if (config.dropouts.length > 0) {
      warnings.push(`The base model's own dropouts are off: ${config.dropouts.join(", ")}.`);
    }
    return new Session(sources, adapted, trainer, loaded, tokenised, warnings);
  }

  private constructor(
    sources: SessionSources,
    adapted: AdaptedModel,
    trainer: Trainer,
    loaded: { files: AdapterFiles; adapter: LoadedAdapter } | undefined,
    tokenised: TokenisedRows,
    warnings: readonly string[],
  ) {
    const { model, selection } = adapted;
    this.sources = sources;
    this.adapted = adapted;
    this.trainer = trainer;
    this.loaded = loaded;
    this.summary = {
      modelType: model.config.modelType,
      parameters: model.parameterCount(),
      trainable: adapterEntries(selection).map(({ key, shape }) => ({ key, shape })),
      trainableCount: adapted.layout.elements(),
      tokenised,
      steps: trainer.steps,
      memory: trainer.memory,
      warnings,
    };
  }

  /** Trains from where it stands to the last step, or until `isStopped`, asked before each step, says so. */
  async run(onStep: (report: StepReport) => void, isStopped?: () => boolean): Promise<void> {
    const elapsedBefore = this.reports.at(-1)?.elapsed_ms ?? 0;
    const keep = (report: StepReport): void => {
      const whole = { ...report, elapsed_ms: elapsedBefore + report.elapsed_ms };
      this.reports.push(whole);
      onStep(whole);
    };
    this.checkUsable();
    try {
      await this.trainer.run(keep, { firstStep: this.reports.length + 1, isStopped });
    } catch (thrown) {
      this.spoilt = thrown;
      throw thrown;
    }
  }

  /** Logits [tokens][vocabulary] of one row, with the adapter as it is now. */
  async logits(ids: Uint32Array): Promise<Float32Array[]> {
    return logitsOf(this.adapted, ids);
  }

  /** The adapter as it is now, as PEFT's save_pretrained would write it, with a model card and the metrics. */
  async files(facts: {
    baseModel: string | null;
    dataset: string;
    device: string | null;
  }): Promise<Map<string, Uint8Array>> {
    this.checkUsable();
    const { adapted, loaded, sources, summary } = this;
    const { model, selection } = adapted;
    const values = new Map<string, Float32Array>();
    for (const entry of adapterEntries(selection)) {
      const engine = await adapted.read(entry.key);
      values.set(entry.key, turned(model, entry) ? turnBack(engine, entry.shape) : engine);
    }
    const config: JsonObject = loaded
      ? reexportConfig(loaded.files.given)
      : exportConfig(selection, sources.run.lora, facts.baseModel);
    const kept = loaded?.adapter.kept ?? [];
    const files = await writeAdapter(config, selection, (key) => values.get(key)!, kept);
    const text = new TextEncoder();
    const card = modelCard({
      baseModel: facts.baseModel,
      selection,
      trainableCount: summary.trainableCount,
      totalCount: summary.parameters + summary.trainableCount,
      run: runFileOf(sources.run),
      dataset: {
        name: facts.dataset,
        rows: summary.tokenised.rows.length,
        leftOut: summary.tokenised.leftOut,
        trainedTokens: summary.tokenised.targets,
      },
      steps: this.reports,
      evaluations: [],
      elapsedMs: this.reports.at(-1)?.elapsed_ms ?? null,
      device: facts.device,
    });
    files.set("README.md", text.encode(card));
    const lines = this.reports.map((report) => `${JSON.stringify(report)}\n`);
    files.set("metrics.jsonl", text.encode(lines.join("")));
    return files;
  }

  /** What broke the run off; from then on it gives nothing away as an adapter. */
  private spoilt: unknown;

  private checkUsable(): void {
    if (this.spoilt !== undefined) throw this.spoilt;
  }

  destroy(): void {
    this.trainer.destroy();
    this.adapted.destroy();
  }
}

async function openAdapter(
  files: FileSet,
  model: Model,
  run: RunConfig,
  tensors: Awaited<ReturnType<typeof openCheckpointTensors>>,
): Promise<{ files: AdapterFiles; adapter: LoadedAdapter; warnings: string[] }> {
  const opened = await readAdapter(files);
  const { modelType } = model.config;
  const adapter = await loadAdapter(opened, model.modules, modelType, (name) =>
    checkpointTensor(tensors, name),
  );
  const given = { config: opened.config, selection: adapter.selection };
  const warnings = compareWithAdapter(run, given, model.modules, modelType);
  return { files: opened, adapter, warnings: [...adapter.warnings, ...warnings] };
}

/** Conv1D's weight lies as [in, out] in files and as [out, in] in the engine. */
function turned(model: Model, entry: AdapterEntry): boolean {
  return (
    entry.part === "parameter" && entry.parameter === "weight" && model.module(entry.module).kind === "conv1d"
  );
}

/** [in, out] from the engine's [out, in]. */
function turnBack(values: Float32Array, [inFeatures, outFeatures]: readonly number[]): Float32Array {
  return floats(transpose(bytesOf(values), [outFeatures!, inFeatures!]));
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

async function initialValues(
  model: Model,
  selection: Selection,
  run: RunConfig,
  loaded: LoadedAdapter | undefined,
): Promise<Map<string, Float32Array>> {
  const initial = new Map<string, Float32Array>();
  for (const target of loaded ? [] : selection.lora) {
    const { a, b } = initialHalves(
      target,
      run.lora.init_lora_weights === "gaussian" ? "gaussian" : true,
      run.train.seed,
    );
    initial.set(loraKey(target.module.name, "lora_A"), a);
    initial.set(loraKey(target.module.name, "lora_B"), b);
  }
  for (const entry of adapterEntries(selection)) {
    if (initial.has(entry.key)) continue;
    const given = loaded?.values.get(entry.key);
    const values =
      given ??
      (entry.part === "parameter" ? await baseValues(model, entry.module, entry.parameter) : undefined);
    if (!values) throw new FormatError("tensor-missing", `The adapter has no "${entry.key}".`);
    const shape = entry.shape as [number, number];
    initial.set(entry.key, turned(model, entry) ? floats(transpose(bytesOf(values), shape)) : values);
  }
  return initial;
}

async function baseValues(model: Model, module: string, parameter: string): Promise<Float32Array> {
  const tensor = model.tensor(module, parameter);
  return toFloat32(await tensor.read(), tensor.dtype);
}
