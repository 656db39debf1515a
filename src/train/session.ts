/** A run from files to files: opens a model, rows and maybe an adapter, and gives back the adapter's files. */
import type { ByteSource, FileSet, FileStream } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { type ChatTemplate, chatTemplate, type FoundTemplate, templateAt } from "../data/chat.ts";
import type { Row } from "../data/rows.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import { cutRows, type EncodedRows, encodeRows, type TokenisedRows } from "../data/tokenize.ts";
import { tokenizerFiles } from "../data/tokenizerFiles.ts";
import { statedLicence } from "../formats/licence.ts";
import { bytesFileSet } from "../formats/sources.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import { exportConfig, reexportConfig } from "../lora/exportConfig.ts";
import { modelCard } from "../lora/modelCard.ts";
import { type AdapterContent, plainLora } from "../lora/plainLora.ts";
import { configWithWhole, withRequiresGrad } from "../lora/requiresGrad.ts";
import type { Adapter } from "../lora/strength.ts";
import { selectModules } from "../lora/targets.ts";
import { writeAdapter } from "../lora/writeAdapter.ts";
import { AdaptedModel } from "./adaptedModel.ts";
import type { AdapterSource } from "./adapterFolder.ts";
import { type AnswerOptions, answersOf } from "./answers.ts";
import { Audit } from "./audit.ts";
import type { Best } from "./best.ts";
import { Evaluator } from "./evaluator.ts";
import type { ExportFormat } from "./exportFiles.ts";
import {
  type Exportable,
  type ExportChoice,
  type ExportOptions,
  exportChecked,
  exportChoices,
} from "./exports.ts";
import { initialValues, tensorsBeside, trainedValues } from "./initialValues.ts";
import { logitsOf } from "./logits.ts";
import { type OpenedAdapter, openAdapter } from "./openAdapter.ts";
import type { OpenedBase } from "./openBase.ts";
import { type OpenedModel, openModel } from "./openModel.ts";
import { type GroupRates, type TrainableTensor, trainableTensors } from "./parameterGroups.ts";
import { type Prompt, promptIds } from "./prompts.ts";
import type { Report, StepReport } from "./reports.ts";
import type { RowReader } from "./rowTokens.ts";
import { type RunConfig, runFileOf } from "./runFile.ts";
import { Sampler } from "./sampler.ts";
import { checkPrompts, type SelfCheck } from "./selfCheck.ts";
import { type MemoryEstimate, type Progress, Trainer } from "./trainer.ts";
import { Watch } from "./watch.ts";

export interface SessionSources {
  readonly model: FileSet;
  /** The model as it was opened before, where others read its tensors too. */
  readonly base?: Pick<OpenedBase, "opened" | "frozen"> | undefined;
  readonly rows: readonly Row[];
  /** Never trained on; their loss is taken every `eval_steps`, and before the first step and after the last. */
  readonly heldOut?: readonly Row[] | undefined;
  readonly run: RunConfig;
  /** An adapter to start from. */
  readonly adapter?: AdapterSource | undefined;
  /** What `chat_template_path` names, where that is no file of the model's folder. */
  readonly chatTemplate?: FoundTemplate | undefined;
  /** Starts the worker in which chat templates run: there is one way in a browser and another in Node. */
  readonly startTemplates: StartTemplatePort;
  /** Tokenises rows; for those that keep what was tokenised before. */
  readonly encode?: ((rows: readonly Row[], reader: RowReader) => Promise<EncodedRows>) | undefined;
}

/** What people are told before the first step. */
export interface SessionSummary {
  readonly modelType: string;
  readonly parameters: number;
  readonly trainable: readonly TrainableTensor[];
  /** Learning rates and weight decays; each trainable tensor is in one group. */
  readonly groups: readonly GroupRates[];
  readonly trainableCount: number;
  readonly tokenised: TokenisedRows;
  readonly steps: number;
  readonly memory: MemoryEstimate;
  /** Rows that are held out, where there are any. */
  readonly heldOut: TokenisedRows | undefined;
  readonly warnings: readonly string[];
}

/** How far a run has come. */
export interface TrainOutcome {
  /** Steps taken so far. */
  readonly steps: number;
  /** No step is left, or early stopping has ended the run. */
  readonly finished: boolean;
  /** The best evaluation so far; undefined where there was none after a step. */
  readonly best: Best | undefined;
  /** The step whose values the adapter has: the last one taken, or the best of a run that ends with that. */
  readonly adapterStep: number;
}

/** What a run does not know of itself. */
export interface ExportFacts {
  /** The base model's name or folder. */
  readonly baseModel: string | null;
  readonly dataset: string;
  readonly device: string | null;
}

export class Session {
  readonly summary: SessionSummary;
  readonly trainer: Trainer;
  readonly adapted: AdaptedModel;
  readonly reports: StepReport[] = [];
  private readonly sources: SessionSources;
  private readonly opened: OpenedModel;
  private readonly template: ChatTemplate;
  private readonly loaded: OpenedAdapter | undefined;
  private readonly watch: Watch;
  private readonly audit: Audit;
  /** Everything that was told, in the order of its telling. */
  private readonly told: Report[] = [];
  private isFinished = false;
  /** The step whose values were brought back, where the run ended with its best. */
  private restoredStep: number | undefined;
  /** What broke the run off; from then on it gives nothing away as an adapter. */
  private spoilt: unknown;

  /** Reads headers, rows and configs, traces and plans. The device holds nothing until `prepare`. */
  static async open(
    gpu: Gpu,
    kernels: Kernels,
    sources: SessionSources,
    options: { readonly onProgress?: Progress | undefined; readonly submitMs?: number | undefined } = {},
  ): Promise<Session> {
    const { run } = sources;
    const opened = sources.base?.opened ?? (await openModel(sources.model));
    const { model, tokenizer } = opened;
    const { config } = model;
    const { chat_template_path } = run.train;
    const chosen =
      sources.chatTemplate ??
      (chat_template_path === null ? opened.template : await templateAt(sources.model, chat_template_path));
    const template = chatTemplate(chosen, tokenizer, sources.startTemplates);
    const { completion_only_loss, assistant_only_loss, last_turn_only } = run.train;
    const reader: RowReader = {
      ...{ tokenizer, stopIds: opened.stopIds },
      options: {
        ...{ completion_only_loss, assistant_only_loss, last_turn_only },
        ...{ eosToken: tokenizer.eosToken, vocabSize: config.vocabSize, template },
      },
    };
    const encode = sources.encode ?? ((rows) => encodeRows(rows, tokenizer, reader.options));
    const tokenise = async (rows: readonly Row[]): Promise<TokenisedRows> =>
      cutRows(await encode(rows, reader), {
        maxLength: config.rotary ? run.train.max_length : Math.min(run.train.max_length, config.maxPositions),
        truncationMode: run.train.truncation_mode,
      });
    let tokenised: TokenisedRows;
    let heldOut: TokenisedRows | undefined;
    let sampledIds: readonly Uint32Array[];
    const { samples } = run.train;
    try {
      tokenised = await tokenise(sources.rows);
      heldOut = sources.heldOut && (await tokenise(sources.heldOut));
      const prompts = (samples?.prompts ?? []).map((prompt) =>
        typeof prompt === "string" ? { text: prompt } : { messages: prompt },
      );
      sampledIds = await promptIds(prompts, tokenizer, template);
    } finally {
      template.close();
    }
    if (run.train.eval_steps !== null && !heldOut) {
      throw new ConfigError(
        "no-held-out",
        `train.eval_steps is ${run.train.eval_steps}, but no rows are held out.`,
        "Leave eval_steps out.",
      );
    }
    const loaded = sources.adapter && (await openAdapter(sources.adapter, opened, run));
    const chosenByLora =
      loaded?.adapter.selection ??
      selectModules(model.modules, run.lora, { modelType: config.modelType, origin: "run", path: "lora" });
    const { requires_grad } = run.train;
    const selection = requires_grad
      ? withRequiresGrad(chosenByLora, model.namedParameters(), requires_grad, { path: "train" })
      : chosenByLora;
    const adapted = new AdaptedModel({
      gpu,
      kernels,
      model,
      frozen: sources.base?.frozen,
      selection,
      loraDropout: (loaded?.files.config ?? run.lora).lora_dropout,
      initial: initialValues(model, selection, run, loaded?.adapter),
    });
    const trainer = new Trainer({ adapted, train: run.train, rows: tokenised.rows, ...options });
    const evaluator = heldOut && new Evaluator(adapted, heldOut.rows);
    const sampler = samples ? new Sampler(adapted, opened, samples, sampledIds) : undefined;
    const watch = new Watch({ adapted, train: run.train, steps: trainer.steps, evaluator, sampler });
    const audit = new Audit(adapted, trainer, run.train);
    const warnings = [...tokenised.warnings, ...(loaded?.warnings ?? []), ...selection.warnings];
    if (config.dropouts.length > 0) {
      warnings.push(`The base model's own dropouts are off: ${config.dropouts.join(", ")}.`);
    }
    const summary: SessionSummary = {
      modelType: config.modelType,
      parameters: model.parameterCount(),
      trainable: trainableTensors(selection, trainer.groups),
      groups: trainer.groups.map(({ by, lr, weight_decay }) => ({ by, lr, weight_decay })),
      trainableCount: adapted.layout.elements(),
      tokenised,
      heldOut,
      steps: trainer.steps,
      memory: withBytes({ ...trainer.memory, ...adapted.bytes() }, watch.bytes(), audit.bytes()),
      warnings,
    };
    // Begun while people read the summary; where it fails, `prepare` says so.
    trainer.compile().catch(() => {});
    return new Session({ sources, opened, template, adapted, trainer, watch, audit, loaded, summary });
  }

  private constructor(parts: {
    sources: SessionSources;
    opened: OpenedModel;
    template: ChatTemplate;
    adapted: AdaptedModel;
    trainer: Trainer;
    watch: Watch;
    audit: Audit;
    loaded: OpenedAdapter | undefined;
    summary: SessionSummary;
  }) {
    this.sources = parts.sources;
    this.opened = parts.opened;
    this.template = parts.template;
    this.adapted = parts.adapted;
    this.trainer = parts.trainer;
    this.watch = parts.watch;
    this.audit = parts.audit;
    this.loaded = parts.loaded;
    this.summary = parts.summary;
  }

  /**
   * Loads the model, compiles every pipeline and allocates what the summary says; nothing stays where it fails. False
   * where it was stopped before, while it computed what to start from; asked again, it goes on.
   */
  async prepare(isStopped?: () => boolean): Promise<boolean> {
    if (!(await this.trainer.begin(isStopped))) return false;
    const undo = this.adapted.gpu.checkpoint();
    try {
      await this.trainer.prepare();
      await this.watch.prepare();
      await this.audit.prepare();
      return true;
    } catch (thrown) {
      undo();
      throw thrown;
    }
  }

  /**
   * Trains from where it stands to the last step, or until `isStopped`, asked before each step, says so. Held-out rows
   * are evaluated and prompts are answered before the first step, every so many steps and after the last; the clock of
   * the reports does not run meanwhile.
   */
  async run(onReport: (report: Report) => void, isStopped: () => boolean = () => false): Promise<void> {
    this.checkUsable();
    const tell = (report: Report): void => {
      this.told.push(report);
      onReport(report);
    };
    try {
      while (!this.isFinished) {
        const taken = this.reports.length;
        const isDone = await this.watch.look(taken, this.elapsed(), tell, isStopped);
        if (isDone && (taken === this.summary.steps || this.watch.isOver)) this.finish();
        else if (!isDone || isStopped()) break;
        else await this.train(tell, isStopped);
      }
    } catch (thrown) {
      this.spoilt = thrown;
      throw thrown;
    }
  }

  /** How far it has come. */
  get outcome(): TrainOutcome {
    const steps = this.reports.length;
    return {
      ...{ steps, finished: this.isFinished, best: this.watch.found },
      adapterStep: this.restoredStep ?? steps,
    };
  }

  /** The answers to all prompts, of the model as it is now; `prepare` comes first. Greedy unless told otherwise. */
  answers(prompts: readonly Prompt[], options: AnswerOptions = {}): Promise<string[]> {
    return answersOf(this.adapted, this.opened, this.template, prompts, options);
  }

  /** The adapter as it is now, to be used beside others. */
  async trained(): Promise<Adapter> {
    return { selection: this.adapted.selection, values: await trainedValues(this.adapted) };
  }

  /** What is trained now, for the base as it is; `json` is its adapter_config.json. */
  private async plain(json: JsonObject): Promise<AdapterContent> {
    const { loaded, sources } = this;
    return plainLora({ json, ...(await this.trained()) }, loaded?.files.config ?? sources.run.lora);
  }

  /** Logits [tokens][vocabulary] of one row, with the adapter as it is now. */
  async logits(ids: Uint32Array): Promise<Float32Array[]> {
    return logitsOf(this.adapted, ids);
  }

  /** The adapter as it is now, as PEFT's save_pretrained would write it, with tokenizer, chat template, model card and metrics. */
  async files(facts: ExportFacts): Promise<Map<string, Uint8Array>> {
    this.checkUsable();
    const { adapted, loaded, sources, summary } = this;
    const config = loaded?.files.config ?? sources.run.lora;
    const json: JsonObject = loaded
      ? reexportConfig(loaded.files.given)
      : exportConfig(adapted.selection, config, facts.baseModel);
    const plain = await this.plain(json);
    const { selection } = plain;
    const kept = tensorsBeside(adapted.model, selection, loaded?.adapter.kept ?? []);
    const files = await writeAdapter(
      configWithWhole(plain.json, selection),
      selection,
      (key) => plain.values.get(key)!,
      { kept, types: loaded?.adapter.types ?? new Map() },
    );
    const text = new TextEncoder();
    const { trainedWith } = this;
    for (const [name, bytes] of await tokenizerFiles(sources.model, trainedWith)) files.set(name, bytes);
    const { tokenised, heldOut } = summary;
    const card = modelCard({
      baseModel: facts.baseModel,
      baseLicence: (await statedLicence(sources.model)) ?? null,
      selection: plain.selection,
      start: adapted.selection.lora.find(({ fromBase }) => fromBase !== null)?.fromBase ?? null,
      trainableCount: summary.trainableCount,
      totalCount: summary.parameters + summary.trainableCount,
      run: runFileOf(sources.run),
      dataset: {
        name: facts.dataset,
        rows: tokenised.rows.length,
        leftOut: tokenised.leftOut,
        cut: tokenised.cut,
        tokens: tokenised.tokens,
        trainedTokens: tokenised.targets,
        heldOut: heldOut?.rows.length ?? 0,
        chatTemplate: trainedWith ? "as in chat_template.jinja" : "none",
      },
      steps: this.reports,
      evaluations: this.watch.evaluations.map(({ step, eval_loss }) => ({ step, loss: eval_loss })),
      best: this.restoredStep === undefined ? null : this.watch.found!,
      elapsedMs: this.reports.at(-1)?.elapsed_ms ?? null,
      device: facts.device,
    });
    files.set("README.md", text.encode(card));
    const metrics = this.told.map((report) => `${JSON.stringify(report)}\n`).join("");
    files.set("metrics.jsonl", text.encode(metrics));
    return files;
  }

  /**
   * What is trained now, written by `write`, which gives back what was written: that is read, run and compared with the
   * model as it is. Throws where the format cannot hold it, or what was written is another model.
   */
  async export(
    format: ExportFormat,
    facts: ExportFacts,
    write: (file: FileStream) => Promise<ByteSource>,
    options?: ExportOptions,
  ): Promise<SelfCheck> {
    return exportChecked(format, await this.exportable(facts), write, options);
  }

  /** What each format would come to, or why it cannot hold what is trained. */
  async exportChoices(facts: ExportFacts): Promise<ExportChoice[]> {
    return exportChoices(await this.exportable(facts));
  }

  destroy(): void {
    this.template.close();
    this.trainer.destroy();
    this.watch.destroy();
    this.audit.destroy();
    this.adapted.destroy();
  }

  private async exportable(facts: ExportFacts): Promise<Exportable> {
    const { adapted, opened, sources, summary } = this;
    const baseName = facts.baseModel ?? "base";
    const name = baseName.split(/[\\/]/).findLast((part) => part !== "") ?? "base";
    return {
      ...{ live: adapted, opened, base: sources.model, baseName },
      ggufName: (format) =>
        format === "gguf" ? `${name}-lora.gguf` : `${name}-${format.replace("-gguf", "")}.gguf`,
      ...{ template: this.trainedWith, startTemplates: sources.startTemplates },
      adapter: bytesFileSet(name, await this.files(facts)),
      prompts: checkPrompts(summary.tokenised.rows, opened.model.config),
    };
  }

  /** Without conversations the plain way of writing them, which is not the model's, was of no account. */
  private get trainedWith(): FoundTemplate | undefined {
    const { isDefault, source } = this.template;
    const hasTurns = this.sources.rows.some((row) => "messages" in row);
    return hasTurns || !isDefault ? source : undefined;
  }

  /** Takes the steps up to the next look at the model. */
  private async train(tell: (report: Report) => void, isStopped: () => boolean): Promise<void> {
    const taken = this.reports.length;
    const elapsedBefore = this.elapsed();
    const keep = (report: StepReport): void => {
      const whole = { ...report, elapsed_ms: elapsedBefore + report.elapsed_ms };
      this.reports.push(whole);
      tell(whole);
    };
    const { audit } = this;
    const isBefore = taken < audit.step;
    if (taken === 0) await audit.begin();
    const next = this.watch.nextAfter(taken);
    const lastStep = isBefore ? Math.min(next, audit.step) : next;
    await this.trainer.run(keep, { firstStep: taken + 1, lastStep, isStopped });
    if (isBefore && this.reports.length === audit.step) {
      tell({ step: audit.step, audit: await audit.result(), elapsed_ms: this.elapsed() });
    }
  }

  private finish(): void {
    this.restoredStep = this.watch.restoreBest();
    this.isFinished = true;
  }

  private elapsed(): number {
    return this.reports.at(-1)?.elapsed_ms ?? 0;
  }

  private checkUsable(): void {
    if (this.spoilt !== undefined) throw this.spoilt;
  }
}

function withBytes(
  memory: MemoryEstimate,
  ...parts: readonly Partial<Record<keyof MemoryEstimate, number>>[]
): MemoryEstimate {
  const sum = { ...memory };
  for (const part of parts)
    for (const [purpose, bytes] of Object.entries(part)) sum[purpose as keyof MemoryEstimate] += bytes;
  return sum;
}
