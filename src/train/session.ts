/** A run from files to files: opens a model, rows and maybe an adapter, and gives back the adapter's files. */
import type { FileSet } from "../base/bytes.ts";
import { ConfigError, DataError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { type ChatTemplate, chatTemplate, type FoundTemplate, templateAt } from "../data/chat.ts";
import type { Message, Row } from "../data/rows.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import { cutRows, type EncodedRows, encodeRows, type TokenisedRows } from "../data/tokenize.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Kernels } from "../gpu/kernels.ts";
import { adapterEntries } from "../lora/adapterKeys.ts";
import { compareWithAdapter } from "../lora/compare.ts";
import { exportConfig, reexportConfig } from "../lora/exportConfig.ts";
import { modelCard } from "../lora/modelCard.ts";
import { type AdapterFiles, type LoadedAdapter, loadAdapter, readAdapter } from "../lora/readAdapter.ts";
import { selectModules } from "../lora/targets.ts";
import { writeAdapter } from "../lora/writeAdapter.ts";
import { checkpointTensor } from "../models/frozen.ts";
import { AdaptedModel } from "./adaptedModel.ts";
import { Evaluator } from "./evaluator.ts";
import { Generator } from "./generator.ts";
import { initialValues, trainedValues } from "./initialValues.ts";
import { logitsOf } from "./logits.ts";
import { type OpenedModel, openModel } from "./openModel.ts";
import type { RowReader } from "./rowTokens.ts";
import { type RunConfig, runFileOf } from "./runFile.ts";
import { GREEDY, type Sampling } from "./sampling.ts";
import { evalInterval } from "./schedule.ts";
import { type MemoryEstimate, type Progress, type StepReport, Trainer } from "./trainer.ts";

export interface SessionSources {
  readonly model: FileSet;
  readonly rows: readonly Row[];
  /** Never trained on; their loss is taken every `eval_steps`, and before the first step and after the last. */
  readonly heldOut?: readonly Row[] | undefined;
  readonly run: RunConfig;
  /** An adapter to start from. */
  readonly adapter?: FileSet | undefined;
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
  /** Name and shape of everything that trains. */
  readonly trainable: readonly { readonly key: string; readonly shape: readonly number[] }[];
  readonly trainableCount: number;
  readonly tokenised: TokenisedRows;
  readonly steps: number;
  readonly memory: MemoryEstimate;
  /** Rows that are held out, where there are any. */
  readonly heldOut: TokenisedRows | undefined;
  readonly warnings: readonly string[];
}

/** A line of metrics.jsonl beside those of the steps. */
export interface EvaluationReport {
  /** After how many steps. */
  readonly step: number;
  /** Means over the held-out targets. */
  readonly eval_loss: number;
  readonly eval_entropy: number;
  readonly eval_mean_token_accuracy: number;
  readonly elapsed_ms: number;
}

export type Report = StepReport | EvaluationReport;

/** What is asked of the model: a conversation so far, or the beginning of a text. */
export type Prompt = { readonly messages: readonly Message[] } | { readonly text: string };

export interface AnswerOptions extends Partial<Sampling> {
  readonly max_new_tokens?: number;
  /** The base model answers: the adapter is left out. */
  readonly asBase?: boolean;
  /** Hears of an answer as it grows. */
  readonly onText?: (prompt: number, text: string) => void;
  readonly isStopped?: () => boolean;
}

/** Answers that are written side by side, and how many tokens each has room for unless told. */
const ANSWER_LANES = 8;
const ANSWER_TOKENS = 128;

export class Session {
  readonly summary: SessionSummary;
  readonly trainer: Trainer;
  readonly adapted: AdaptedModel;
  readonly reports: StepReport[] = [];
  readonly evaluations: EvaluationReport[] = [];
  private readonly sources: SessionSources;
  private readonly opened: OpenedModel;
  private readonly template: ChatTemplate;
  private readonly loaded: OpenedAdapter | undefined;
  private readonly evaluator: Evaluator | undefined;
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
    const opened = await openModel(sources.model);
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
    try {
      tokenised = await tokenise(sources.rows);
      heldOut = sources.heldOut && (await tokenise(sources.heldOut));
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
    const evaluator = heldOut && new Evaluator(adapted, heldOut.rows);
    const warnings = [...tokenised.warnings, ...(loaded?.warnings ?? []), ...selection.warnings];
    if (config.dropouts.length > 0) {
      warnings.push(`The base model's own dropouts are off: ${config.dropouts.join(", ")}.`);
    }
    const summary: SessionSummary = {
      modelType: config.modelType,
      parameters: model.parameterCount(),
      trainable: adapterEntries(selection).map(({ key, shape }) => ({ key, shape })),
      trainableCount: adapted.layout.elements(),
      tokenised,
      heldOut,
      steps: trainer.steps,
      memory: withEvaluation(trainer.memory, evaluator),
      warnings,
    };
    return new Session({ sources, opened, template, adapted, trainer, evaluator, loaded, summary });
  }

  private constructor(parts: {
    sources: SessionSources;
    opened: OpenedModel;
    template: ChatTemplate;
    adapted: AdaptedModel;
    trainer: Trainer;
    evaluator: Evaluator | undefined;
    loaded: OpenedAdapter | undefined;
    summary: SessionSummary;
  }) {
    this.sources = parts.sources;
    this.opened = parts.opened;
    this.template = parts.template;
    this.adapted = parts.adapted;
    this.trainer = parts.trainer;
    this.evaluator = parts.evaluator;
    this.loaded = parts.loaded;
    this.summary = parts.summary;
  }

  /** Loads the model, compiles every pipeline and allocates what the summary says; nothing stays where it fails. */
  async prepare(): Promise<void> {
    const undo = this.adapted.gpu.checkpoint();
    try {
      await this.trainer.prepare();
      await this.evaluator?.prepare();
    } catch (thrown) {
      undo();
      throw thrown;
    }
  }

  /**
   * Trains from where it stands to the last step, or until `isStopped`, asked before each step, says so. Held-out rows
   * are evaluated before the first step, every eval_steps and after the last; the clock of the reports does not run
   * meanwhile.
   */
  async run(onReport: (report: Report) => void, isStopped: () => boolean = () => false): Promise<void> {
    this.checkUsable();
    const { steps } = this.summary;
    const every = evalInterval(this.sources.run.train, steps) ?? steps;
    try {
      if (this.reports.length === 0) await this.evaluate(onReport);
      while (this.reports.length < steps && !isStopped()) {
        const firstStep = this.reports.length + 1;
        const lastStep = this.evaluator ? Math.min(steps, Math.ceil(firstStep / every) * every) : steps;
        const elapsedBefore = this.elapsed();
        const keep = (report: StepReport): void => {
          const whole = { ...report, elapsed_ms: elapsedBefore + report.elapsed_ms };
          this.reports.push(whole);
          onReport(whole);
        };
        await this.trainer.run(keep, { firstStep, lastStep, isStopped });
        if (this.reports.length === lastStep) await this.evaluate(onReport);
      }
    } catch (thrown) {
      this.spoilt = thrown;
      throw thrown;
    }
  }

  /** The answers to all prompts, of the model as it is now; `prepare` comes first. Greedy unless told otherwise. */
  async answers(prompts: readonly Prompt[], options: AnswerOptions = {}): Promise<string[]> {
    const { max_new_tokens = ANSWER_TOKENS, asBase = false, onText, isStopped, ...sampling } = options;
    const { tokenizer, stopIds, model } = this.opened;
    const ids = await this.promptIds(prompts);
    const longest = ids.reduce((most, { length }) => Math.max(most, length), 0);
    const generator = new Generator(this.adapted, {
      lanes: Math.min(ANSWER_LANES, prompts.length),
      context: Math.min(model.config.maxPositions, longest + max_new_tokens),
      asBase,
    });
    // Rotary tables of this length stay with the frozen weights: later answers find them there.
    await this.adapted.load();
    const undo = this.adapted.gpu.checkpoint();
    try {
      await generator.prepare();
      const soFar = prompts.map((): number[] => []);
      const answers = await generator.generate(
        ids,
        { ...GREEDY, ...sampling, max_new_tokens, stopIds },
        (prompt, id) => {
          soFar[prompt]!.push(id);
          onText?.(prompt, tokenizer.decode(soFar[prompt]!));
        },
        isStopped,
      );
      return answers.map((answer) => tokenizer.decode(answer.ids));
    } finally {
      generator.destroy();
      undo();
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
    const { selection } = adapted;
    const values = await trainedValues(adapted);
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
      evaluations: this.evaluations.map(({ step, eval_loss }) => ({ step, loss: eval_loss })),
      elapsedMs: this.reports.at(-1)?.elapsed_ms ?? null,
      device: facts.device,
    });
    files.set("README.md", text.encode(card));
    files.set("metrics.jsonl", text.encode(this.metrics()));
    return files;
  }

  destroy(): void {
    this.template.close();
    this.trainer.destroy();
    this.evaluator?.destroy();
    this.adapted.destroy();
  }

  private async evaluate(onReport: (report: Report) => void): Promise<void> {
    if (!this.evaluator) return;
    const { loss, entropy, mean_token_accuracy } = await this.evaluator.evaluate();
    const report: EvaluationReport = {
      step: this.reports.length,
      eval_loss: loss,
      eval_entropy: entropy,
      eval_mean_token_accuracy: mean_token_accuracy,
      elapsed_ms: this.elapsed(),
    };
    this.evaluations.push(report);
    onReport(report);
  }

  private elapsed(): number {
    return this.reports.at(-1)?.elapsed_ms ?? 0;
  }

  private async promptIds(prompts: readonly Prompt[]): Promise<Uint32Array[]> {
    const { tokenizer } = this.opened;
    const asked = prompts.flatMap((prompt) => ("messages" in prompt ? [prompt.messages] : []));
    const requests = asked.map((messages) => ({ messages, wanted: "prompt" as const, promptTurns: 0 }));
    const answers = requests.length > 0 ? await this.template.render(requests) : [];
    return prompts.map((prompt) => {
      if ("text" in prompt) return Uint32Array.from(tokenizer.encode(prompt.text));
      const answer = answers.shift()!;
      if ("code" in answer) throw new DataError(answer.code, answer.message, "Ask it otherwise.");
      return Uint32Array.from(tokenizer.encodeRendered(answer.text));
    });
  }

  /** One line a report, an evaluation after the step it followed. */
  private metrics(): string {
    const reports: Report[] = [...this.reports, ...this.evaluations];
    const isEvaluation = (report: Report): number => ("eval_loss" in report ? 1 : 0);
    reports.sort((a, b) => a.step - b.step || isEvaluation(a) - isEvaluation(b));
    return reports.map((report) => `${JSON.stringify(report)}\n`).join("");
  }

  private checkUsable(): void {
    if (this.spoilt !== undefined) throw this.spoilt;
  }
}

interface OpenedAdapter {
  readonly files: AdapterFiles;
  readonly adapter: LoadedAdapter;
  readonly warnings: readonly string[];
}

async function openAdapter(
  files: FileSet,
  { model, tensors }: OpenedModel,
  run: RunConfig,
): Promise<OpenedAdapter> {
  const opened = await readAdapter(files);
  const { modelType } = model.config;
  const adapter = await loadAdapter(opened, model.modules, modelType, (name) =>
    checkpointTensor(tensors, name),
  );
  const given = { config: opened.config, selection: adapter.selection };
  const warnings = compareWithAdapter(run, given, model.modules, modelType);
  return { files: opened, adapter, warnings: [...adapter.warnings, ...warnings] };
}

function withEvaluation(memory: MemoryEstimate, evaluator: Evaluator | undefined): MemoryEstimate {
  if (!evaluator) return memory;
  const { activations, inputs, control } = evaluator.bytes();
  return {
    ...memory,
    activations: memory.activations + activations,
    inputs: memory.inputs + inputs,
    control: memory.control + control,
  };
}
