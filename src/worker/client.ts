/** The page's side: starts the training worker and asks it. Every answer is a value; none of the promises rejects. */
import { proxy, type Remote, wrap } from "comlink";
import { type Failure, failure, GraftError, type Result } from "../base/errors.ts";
import type {
  AdapterSource,
  AnswerRequest,
  AnswerText,
  BaseFacts,
  DataEdit,
  DataFacts,
  DataRequest,
  DeviceFacts,
  ExportChoice,
  Exported,
  ExportFormat,
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
  RunSummary,
  TargetPreview,
  TrainApi,
  TrainOutcome,
} from "./api.ts";

export class TrainClient implements TrainApi {
  private readonly remote: Remote<TrainApi>;
  /** A worker that does not start answers nothing: whoever waits hears it from here. */
  private readonly died: Promise<Failure>;

  constructor() {
    const worker = new Worker(new URL("./train-worker.ts", import.meta.url), {
      type: "module",
      name: "train",
    });
    this.died = new Promise((resolve) => {
      worker.addEventListener("error", ({ message }) => {
        const what = `The part of Graft that trains has stopped${message ? `: ${message}` : "."}`;
        resolve(failure(new GraftError("worker", what, "Reload the page.")));
      });
    });
    this.remote = wrap<TrainApi>(worker);
  }

  device(): Promise<Result<DeviceFacts>> {
    return this.answer(this.remote.device());
  }

  async deviceLost(): Promise<Failure> {
    return Promise.race([this.remote.deviceLost().catch(failure), this.died]);
  }

  readData(request: DataRequest, onProgress: (progress: Progress) => void): Promise<Result<DataFacts>> {
    return this.answer(this.remote.readData(request, proxy(onProgress)));
  }

  editData(edit: DataEdit): Promise<Result<DataFacts>> {
    return this.answer(this.remote.editData(edit));
  }

  dataLines(first: number, count: number): Promise<Result<readonly RecordLine[]>> {
    return this.answer(this.remote.dataLines(first, count));
  }

  dataRecord(record: number): Promise<Result<RecordView>> {
    return this.answer(this.remote.dataRecord(record));
  }

  previewTargets(request: PreviewRequest): Promise<Result<TargetPreview>> {
    return this.answer(this.remote.previewTargets(request));
  }

  open(request: OpenRequest, onProgress: (progress: Progress) => void): Promise<Result<RunSummary>> {
    return this.answer(this.remote.open(request, proxy(onProgress)));
  }

  async stopOpening(): Promise<void> {
    await this.remote.stopOpening().catch(() => {});
  }

  train(
    onProgress: (progress: Progress) => void,
    onReports: (reports: readonly Report[]) => void,
  ): Promise<Result<TrainOutcome>> {
    return this.answer(this.remote.train(proxy(onProgress), proxy(onReports)));
  }

  async pause(): Promise<void> {
    await this.remote.pause().catch(() => {});
  }

  answers(
    request: AnswerRequest,
    onProgress: (progress: Progress) => void,
    onTexts: (texts: readonly AnswerText[]) => void,
  ): Promise<Result<readonly string[]>> {
    return this.answer(this.remote.answers(request, proxy(onProgress), proxy(onTexts)));
  }

  async stopAnswers(): Promise<void> {
    await this.remote.stopAnswers().catch(() => {});
  }

  openBase(model: Folder): Promise<Result<BaseFacts>> {
    return this.answer(this.remote.openBase(model));
  }

  async closeBase(): Promise<void> {
    await this.remote.closeBase().catch(() => {});
  }

  openAdapter(
    source: AdapterSource,
    onProgress: (progress: Progress) => void,
  ): Promise<Result<OpenedAdapterFacts>> {
    return this.answer(this.remote.openAdapter(source, proxy(onProgress)));
  }

  async stopOpeningAdapter(): Promise<void> {
    await this.remote.stopOpeningAdapter().catch(() => {});
  }

  adapterChanges(id: number): Promise<Result<readonly ParameterChange[]>> {
    return this.answer(this.remote.adapterChanges(id));
  }

  async closeAdapter(id: number): Promise<void> {
    await this.remote.closeAdapter(id).catch(() => {});
  }

  memory(): Promise<Result<MemoryEstimate>> {
    return this.answer(this.remote.memory());
  }

  exportChoices(): Promise<Result<readonly ExportChoice[]>> {
    return this.answer(this.remote.exportChoices());
  }

  export(format: ExportFormat, onProgress: (progress: Progress) => void): Promise<Result<Exported>> {
    return this.answer(this.remote.export(format, proxy(onProgress)));
  }

  async stopExport(): Promise<void> {
    await this.remote.stopExport().catch(() => {});
  }

  async close(): Promise<void> {
    await this.remote.close().catch(() => {});
  }

  private answer<T>(asked: Promise<Result<T>>): Promise<Result<T>> {
    return Promise.race([asked.catch(failure), this.died]);
  }
}
