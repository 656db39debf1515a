/** A run from files to files: opens a model, rows and maybe an adapter, and gives back the adapter's files. */
import type { ByteSource, FileStream } from "../base/bytes.ts";
import { type Failure, failure } from "../base/errors.ts";
import type { FoundTemplate } from "../data/chat.ts";
import { bytesFileSet } from "../formats/sources.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import type { Adapter } from "../lora/strength.ts";
import type { AdaptedModel } from "./adaptedModel.ts";
import type { AdapterSource } from "./adapterFolder.ts";
import { type AnswerOptions, answersOf } from "./answers.ts";
import type { Audit } from "./audit.ts";
import type { Best } from "./best.ts";
import type { ExportFormat } from "./exportFiles.ts";
import {
  type Exportable,
  type ExportChoice,
  type ExportOptions,
  exportChecked,
  exportChoices,
} from "./exports.ts";
import { trainedValues } from "./initialValues.ts";
import { logitsOf } from "./logits.ts";
import { isDivergence } from "./notNumbers.ts";
import { type OpenedAdapter, openAdapter } from "./openAdapter.ts";
import type { OpenedBase } from "./openBase.ts";
import { type OpenedModel, openModel } from "./openModel.ts";
import { type PlannedRun, type PlanOptions, planRun } from "./planRun.ts";
import type { Prompt } from "./prompts.ts";
import type { Report, StepReport } from "./reports.ts";
import { type RowSources, type RunTokens, tokeniseRun } from "./runTokens.ts";
import { checkPrompts, type SelfCheck } from "./selfCheck.ts";
import { type SessionSummary, summarise } from "./sessionSummary.ts";
import { type ExportFacts, ownName, trainedFiles } from "./trainedFiles.ts";
import type { Trainer } from "./trainer.ts";
import type { Watch } from "./watch.ts";

export interface SessionSources extends RowSources {
  /** The model as it was opened before, where others read its tensors too. */
  readonly base?: Pick<OpenedBase, "opened" | "frozen"> | undefined;
  /** An adapter to start from. */
  readonly adapter?: AdapterSource | undefined;
}

/** How far a run has come. */
export interface TrainOutcome {
  /** Steps taken so far. */
  readonly steps: number;
  /** No step is left, early stopping has ended the run, or it diverged and ended with its best. */
  readonly finished: boolean;
  /** What there was to be seen of it, where the run diverged. */
  readonly diverged: Failure | undefined;
  /** The best evaluation so far; undefined where there was none after a step. */
  readonly best: Best | undefined;
  /** The step whose values the adapter has: the last one taken, or the best of a run that ends with that. */
  readonly adapterStep: number;
}

export class Session {
  readonly summary: SessionSummary;
  readonly trainer: Trainer;
  readonly adapted: AdaptedModel;
  readonly reports: StepReport[] = [];
  private readonly sources: SessionSources;
  private readonly opened: OpenedModel;
  private readonly tokens: RunTokens;
  private readonly loaded: OpenedAdapter | undefined;
  private readonly watch: Watch;
  private readonly audit: Audit;
  /** Everything that was told, in the order of its telling. */
  private readonly told: Report[] = [];
  private isFinished = false;
  /** The step whose values were brought back, where the run ended with its best. */
  private restoredStep: number | undefined;
  private diverged: Failure | undefined;
  /** What broke the run off; from then on it gives nothing away as an adapter. */
  private spoilt: unknown;

  /** Reads headers, rows and configs, traces and plans. The device holds nothing until `prepare`. */
  static async open(
    gpu: Gpu,
    kernels: Kernels,
    sources: SessionSources,
    options: PlanOptions = {},
  ): Promise<Session> {
    const { run } = sources;
    const opened = sources.base?.opened ?? (await openModel(sources.model));
    const tokens = await tokeniseRun(opened, sources);
    const loaded = sources.adapter && (await openAdapter(sources.adapter, opened, run));
    const device = { gpu, kernels, frozen: sources.base?.frozen };
    const planned = planRun(device, { opened, run, tokens, loaded }, options);
    const session = new Session(sources, opened, loaded, planned);
    // Begun while people read the summary; where it fails, `prepare` says so.
    planned.trainer.compile().catch(() => {});
    return session;
  }

  private constructor(
    sources: SessionSources,
    opened: OpenedModel,
    loaded: OpenedAdapter | undefined,
    planned: PlannedRun,
  ) {
    this.sources = sources;
    this.opened = opened;
    this.loaded = loaded;
    this.adapted = planned.adapted;
    this.trainer = planned.trainer;
    this.watch = planned.watch;
    this.audit = planned.audit;
    this.tokens = planned.tokens;
    this.summary = summarise(planned, loaded?.warnings);
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
   * the reports does not run meanwhile. A run that diverges ends with its best, where that was kept.
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
        if (isDone && (taken === this.summary.steps || this.watch.isOver))
          this.finish(this.watch.restoreBest());
        else if (!isDone || isStopped()) break;
        else await this.train(tell, isStopped);
      }
    } catch (thrown) {
      const step = isDivergence(thrown) ? this.watch.restoreBest() : undefined;
      if (step === undefined) {
        this.spoilt = thrown;
        throw thrown;
      }
      this.finish(step);
      this.diverged = failure(thrown);
      tell({ step: this.reports.length, diverged: this.diverged.message, elapsed_ms: this.elapsed() });
    }
  }

  /** How far it has come. */
  get outcome(): TrainOutcome {
    const steps = this.reports.length;
    return {
      ...{ steps, finished: this.isFinished, diverged: this.diverged, best: this.watch.found },
      adapterStep: this.restoredStep ?? steps,
    };
  }

  /** The answers to all prompts, of the model as it is now; `prepare` comes first. Greedy unless told otherwise. */
  answers(prompts: readonly Prompt[], options: AnswerOptions = {}): Promise<string[]> {
    return answersOf(this.adapted, this.opened, this.tokens.template, prompts, options);
  }

  /** The adapter as it is now, to be used beside others. */
  async trained(): Promise<Adapter> {
    return { selection: this.adapted.selection, values: await trainedValues(this.adapted) };
  }

  /** Logits [tokens][vocabulary] of one row, with the adapter as it is now. */
  async logits(ids: Uint32Array): Promise<Float32Array[]> {
    return logitsOf(this.adapted, ids);
  }

  /** The adapter's folder, as it is now. */
  async files(facts: ExportFacts): Promise<Map<string, Uint8Array>> {
    this.checkUsable();
    const { adapted, loaded, sources, summary, told, trainedWith } = this;
    const best = this.restoredStep === undefined ? null : this.watch.found!;
    const { model: base, run } = sources;
    return trainedFiles({ base, run, adapted, loaded, trainedWith, summary, told, best }, facts);
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
    this.tokens.template.close();
    this.trainer.destroy();
    this.watch.destroy();
    this.audit.destroy();
    this.adapted.destroy();
  }

  private async exportable(facts: ExportFacts): Promise<Exportable> {
    const { adapted, opened, sources, summary } = this;
    const baseName = facts.baseModel ?? "base";
    const name = ownName(baseName);
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
    const { isDefault, source } = this.tokens.template;
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

  private finish(restoredStep: number | undefined): void {
    this.restoredStep = restoredStep;
    this.isFinished = true;
  }

  private elapsed(): number {
    return this.reports.at(-1)?.elapsed_ms ?? 0;
  }

  private checkUsable(): void {
    if (this.spoilt !== undefined) throw this.spoilt;
  }
}
