/**
 * A worker that gives back what another one once gave: reports that were recorded, answers that were written down. It
 * reads rows, and trains nothing. With it the page is tested on what takes hours, or cannot be had twice.
 */
import { failure } from "../../src/base/errors.ts";
import { blobSource } from "../../src/formats/sources.ts";
import { OpenData } from "../../src/train/openData.ts";
import { previewModel } from "../../src/train/previewModel.ts";
import { parseRunFile } from "../../src/train/runFile.ts";
import type {
  AdapterSource,
  AnswerRequest,
  AnswerText,
  BaseFacts,
  DataEdit,
  DataFacts,
  DataRequest,
  DeviceFacts,
  EvaluationReport,
  ExportChoice,
  Exported,
  ExportFormat,
  Failure,
  Folder,
  MemoryEstimate,
  OpenedAdapterFacts,
  OpenRequest,
  ParameterChange,
  PreviewRequest,
  Progress,
  RecordLine,
  RecordView,
  Report,
  Result,
  RunSummary,
  StepReport,
  TargetPreview,
  TrainApi,
  TrainOutcome,
} from "../../src/worker/api.ts";
import { adapterOf, folderOf } from "../../src/worker/sources.ts";

const MEMORY = { base: 1024, adapter: 512, optimizer: 512, activations: 2048, inputs: 256, control: 256 };
const ROWS = { used: 3, leftOut: 0, faults: [], cut: 0, tokens: 60, targets: 57, replacedSurrogates: 0 };

export interface Recording {
  /** Batches as they came, each after so many milliseconds. */
  readonly batches: Iterable<readonly Report[]>;
  readonly intervalMs: number;
  readonly steps: number;
  /** What a prompt was answered with. */
  answer?(prompt: string, asBase: boolean): string;
  /** How it ended, where that was not with its last step. */
  readonly ending?: Partial<TrainOutcome>;
}

export class RecordedWorker implements TrainApi {
  readonly opened: OpenRequest[] = [];
  readonly asked: AnswerRequest[] = [];
  /** Labels of bases that were opened, and adapters that were closed. */
  readonly bases: string[] = [];
  readonly closed: number[] = [];
  /** Called to lose the device. */
  lose: (failure: Failure) => void = () => {};
  /** Whether what adapters began as is computed from the base; `endDecomposing` lets one be opened. */
  decomposes = false;
  endDecomposing: () => void = () => {};
  /** What the next call is refused with. */
  refusal: Failure | undefined;
  private readonly recording: Recording;
  private readonly data = new OpenData();
  private meaning = parseRunFile({}, "run").train;
  private batches: Iterator<readonly Report[]> | undefined;
  private isPaused = false;
  private isOpeningStopped = false;
  private adapterIds = 0;
  private steps = 0;

  constructor(recording: Recording) {
    this.recording = recording;
  }

  async device(): Promise<Result<DeviceFacts>> {
    const facts = { description: "recorded", vendor: "", architecture: "", software: false };
    return { ok: true, value: facts };
  }

  deviceLost(): Promise<Failure> {
    return new Promise((resolve) => {
      this.lose = resolve;
    });
  }

  async readData({ data, heldOut = [], run }: DataRequest): Promise<Result<DataFacts>> {
    const sourcesOf = (files: readonly File[]) => files.map((file) => blobSource(file, file.name));
    const key = [...data, ...heldOut].map(({ name, size }) => `${name} ${size}`).join();
    this.meaning = parseRunFile(run, "run").train;
    await this.data.read({ train: sourcesOf(data), heldOut: sourcesOf(heldOut), key }, this.meaning);
    return { ok: true, value: this.data.facts(this.meaning, "skip") };
  }

  async editData(edit: DataEdit): Promise<Result<DataFacts>> {
    this.data.edit(edit);
    return { ok: true, value: this.data.facts(this.meaning, "skip") };
  }

  async dataLines(first: number, count: number): Promise<Result<readonly RecordLine[]>> {
    return { ok: true, value: this.data.lines(first, count) };
  }

  async dataRecord(record: number): Promise<Result<RecordView>> {
    return { ok: true, value: { values: this.data.values(record), tokens: undefined } };
  }

  async previewTargets({ model, adapter, ...settings }: PreviewRequest): Promise<Result<TargetPreview>> {
    try {
      return {
        ok: true,
        value: await previewModel(folderOf(model), settings, adapter && adapterOf(adapter)),
      };
    } catch (thrown) {
      return failure(thrown);
    }
  }

  async stopOpening(): Promise<void> {}

  async open(request: OpenRequest): Promise<Result<RunSummary>> {
    if (this.refusal) return this.refusal;
    this.opened.push(request);
    this.batches = this.recording.batches[Symbol.iterator]();
    this.steps = 0;
    const value: RunSummary = {
      ...{
        modelType: "llama",
        parameters: 1000,
        trainable: [{ key: "a", name: null, shape: [2, 2], group: 0 }],
        groups: [{ by: null, lr: 2e-4, weight_decay: 0 }],
        trainableCount: 4,
      },
      stepsPerEpoch: { plain: 1, packed: 1 },
      lengths: {
        length: Uint32Array.of(10, 20, 30),
        ...{ firstLearnt: Uint32Array.of(1, 1, 1), endLearnt: Uint32Array.of(10, 20, 30) },
      },
      ...{ steps: this.recording.steps, memory: MEMORY, rows: ROWS, warnings: [] },
      heldOut: request.heldOut && ROWS,
    };
    return { ok: true, value };
  }

  async train(
    onProgress: (progress: Progress) => void,
    onReports: (reports: readonly Report[]) => void,
  ): Promise<Result<TrainOutcome>> {
    if (this.refusal) return this.refusal;
    this.isPaused = false;
    onProgress({ stage: "compile", done: 1, total: 1 });
    while (!this.isPaused) {
      const { value: batch, done } = this.batches!.next();
      if (done) return { ok: true, value: this.outcome(true) };
      this.steps += batch.filter((report) => "loss" in report).length;
      onReports(batch);
      await new Promise((resolve) => setTimeout(resolve, this.recording.intervalMs));
    }
    return { ok: true, value: this.outcome(false) };
  }

  private outcome(finished: boolean): TrainOutcome {
    const ending = finished ? this.recording.ending : {};
    return {
      steps: this.steps,
      finished,
      diverged: undefined,
      best: undefined,
      adapterStep: this.steps,
      ...ending,
    };
  }

  async pause(): Promise<void> {
    this.isPaused = true;
  }

  async answers(
    request: AnswerRequest,
    _onProgress: (progress: Progress) => void,
    onTexts: (texts: readonly AnswerText[]) => void,
  ): Promise<Result<readonly string[]>> {
    if (this.refusal) return this.refusal;
    this.asked.push(request);
    const texts = request.prompts.map((prompt) => {
      const words = "text" in prompt ? prompt.text : prompt.messages.at(-1)!.content;
      const asBase = request.asBase || request.adapters?.length === 0;
      return this.recording.answer?.(words, asBase) ?? "";
    });
    onTexts(texts.map((text, prompt) => ({ prompt, text })));
    return { ok: true, value: texts };
  }

  async stopAnswers(): Promise<void> {}

  async openBase({ label }: Folder): Promise<Result<BaseFacts>> {
    this.bases.push(label);
    return (
      this.refusal ?? {
        ok: true,
        value: { label, modelType: "llama", parameters: 1000, layers: 2, ofRun: false },
      }
    );
  }

  async closeBase(): Promise<void> {}

  async openAdapter(
    source: AdapterSource,
    onProgress: (progress: Progress) => void,
  ): Promise<Result<OpenedAdapterFacts>> {
    if (this.refusal) return this.refusal;
    if (this.decomposes) {
      onProgress({ stage: "start", done: 0, total: 2 });
      await new Promise<void>((resolve) => {
        this.endDecomposing = resolve;
      });
      onProgress({ stage: "start", done: 1, total: 2 });
      if (this.isOpeningStopped) {
        this.isOpeningStopped = false;
        return { ok: false, code: "stopped", message: "It was stopped.", remedy: "" };
      }
    }
    const module = { module: "model.layers.0.self_attn.q_proj", rank: 2, alpha: 4, scale: 2, dora: false };
    const value: OpenedAdapterFacts = {
      ...{ id: ++this.adapterIds, label: "label" in source ? source.label : source.name },
      ...{ config: { r: 2 }, baseModel: null, taskType: null, tensors: [], parameters: 8, bytes: 32 },
      fit: {
        ok: true,
        value: { modules: [module], whole: [], tokens: [], layers: [0, 1], rest: ["lm_head"], warnings: [] },
      },
    };
    return { ok: true, value };
  }

  async stopOpeningAdapter(): Promise<void> {
    this.isOpeningStopped = true;
    this.endDecomposing();
  }

  async adapterChanges(): Promise<Result<readonly ParameterChange[]>> {
    return { ok: true, value: [{ name: "model.layers.0.self_attn.q_proj.weight", change: 1, base: 4 }] };
  }

  async closeAdapter(id: number): Promise<void> {
    this.closed.push(id);
  }

  async memory(): Promise<Result<MemoryEstimate>> {
    return this.refusal ?? { ok: true, value: MEMORY };
  }

  async exportChoices(): Promise<Result<readonly ExportChoice[]>> {
    return this.refusal ?? { ok: true, value: [{ format: "peft", bytes: 1, notes: [], refusal: undefined }] };
  }

  async export(format: ExportFormat): Promise<Result<Exported>> {
    if (this.refusal) return this.refusal;
    const blob = new Blob([Uint8Array.of(this.steps)]);
    const check = { difference: 0, allowed: 1e-6, moved: 0.5, kept: 1, tokens: 3 };
    return {
      ok: true,
      value: { format, files: [{ name: "adapter_config.json", blob, crc32: 0 }], check },
    };
  }

  async stopExport(): Promise<void> {}

  async close(): Promise<void> {}
}

/** A step's report, where only some of its numbers matter. */
export function stepReport(step: number, part: Partial<StepReport> = {}): StepReport {
  const means = { loss: 2, entropy: 2, mean_token_accuracy: 0.5 };
  return { step, ...means, lr: 1e-3, grad_norm: 1, tokens: 100, elapsed_ms: 50 * step, ...part };
}

export function evaluationReport(step: number, eval_loss: number, elapsed_ms: number): EvaluationReport {
  return { step, eval_loss, eval_entropy: 2, eval_mean_token_accuracy: 0.5, elapsed_ms };
}
