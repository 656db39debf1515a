/** The engine behind the worker's API: one device, one run at a time. It knows no worker, so Node can run it too. */
import { failure, type Result, success } from "../base/errors.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import { previewModel } from "../train/previewModel.ts";
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
  RunSummary,
  TargetPreview,
  TrainApi,
  TrainOutcome,
} from "./api.ts";
import type { FoundDevice } from "./device.ts";
import { Exporter } from "./exporter.ts";
import { ExportStore } from "./exportStore.ts";
import { Opened } from "./opened.ts";
import { RunRows } from "./runRows.ts";
import { SharedDevice } from "./sharedDevice.ts";
import { adapterOf, folderOf, runOf, templateOf } from "./sources.ts";
import { Stoppable } from "./stoppable.ts";
import { summaryOf } from "./summary.ts";
import { gathered, seldom } from "./telling.ts";

export class TrainHost implements TrainApi {
  private readonly shared: SharedDevice;
  private readonly opened: Opened;
  private readonly rows = new RunRows();
  private readonly exporter: Exporter;
  private pauses = 0;
  private answerStops = 0;
  private readonly openingAdapter = new Stoppable(
    "It was stopped before all was computed that it began as.",
    "Open it again.",
  );

  constructor(
    request: () => Promise<FoundDevice>,
    startTemplates: StartTemplatePort,
    store = new ExportStore(undefined),
  ) {
    this.shared = new SharedDevice(request, () => {
      this.opened.endRun();
      this.opened.endShelf();
    });
    this.opened = new Opened(this.shared, startTemplates);
    this.exporter = new Exporter(store);
  }

  device(): Promise<Result<DeviceFacts>> {
    return this.shared.inTurn(async () => (await this.shared.acquire()).facts);
  }

  deviceLost(): Promise<Failure> {
    return this.shared.nextLoss();
  }

  readData(request: DataRequest, onProgress: (progress: Progress) => void): Promise<Result<DataFacts>> {
    const signal = this.rows.reading.begin();
    return this.shared.inTurn(async () => {
      signal.throwIfAborted();
      const { train } = await runOf(request);
      return this.rows.read(request, train, { signal, onProgress });
    });
  }

  editData(edit: DataEdit): Promise<Result<DataFacts>> {
    return this.shared.inTurn(async () => this.rows.edit(edit));
  }

  dataLines(first: number, count: number): Promise<Result<readonly RecordLine[]>> {
    return atOnce(() => this.rows.lines(first, count));
  }

  dataRecord(record: number): Promise<Result<RecordView>> {
    return atOnce(() => this.rows.record(record, this.opened.reader));
  }

  previewTargets({ model, adapter, ...settings }: PreviewRequest): Promise<Result<TargetPreview>> {
    return atOnce(() => previewModel(folderOf(model), settings, adapter && adapterOf(adapter)));
  }

  open(request: OpenRequest, onProgress: (progress: Progress) => void): Promise<Result<RunSummary>> {
    this.pauses++;
    const signal = this.rows.reading.begin();
    return this.shared.inTurn(async () => {
      this.opened.endRun();
      signal.throwIfAborted();
      const { model, adapter, data } = request;
      const run = await runOf(request);
      await this.rows.read(request, run.train, { signal, onProgress });
      const { train, heldOut, parsed } = this.rows.dataset();
      const session = await this.opened.openRun(model, {
        dataName: data.map(({ name }) => name).join(", "),
        ...{ run, rows: train, heldOut, adapter: adapter && adapterOf(adapter) },
        chatTemplate: await templateOf(request),
        encode: (rows, reader) => this.rows.encode(rows, reader, model, { signal, onProgress }),
      });
      return summaryOf(session, parsed, run.train);
    });
  }

  async stopOpening(): Promise<void> {
    this.rows.reading.stop();
  }

  train(
    onProgress: (progress: Progress) => void,
    onReports: (reports: readonly Report[]) => void,
  ): Promise<Result<TrainOutcome>> {
    const pausesBefore = this.pauses;
    return this.shared.inTurn(async () => {
      const { session } = this.opened.run();
      const isStopped = () => this.pauses !== pausesBefore || this.shared.trouble !== undefined;
      if (await this.opened.prepare({ onProgress, isStopped })) {
        await gathered(onReports, (add) => session.run(add, isStopped));
      }
      return session.outcome;
    });
  }

  async pause(): Promise<void> {
    this.pauses++;
  }

  answers(
    { prompts, adapters, ...options }: AnswerRequest,
    onProgress: (progress: Progress) => void,
    onTexts: (texts: readonly AnswerText[]) => void,
  ): Promise<Result<readonly string[]>> {
    const stopsBefore = this.answerStops;
    return this.shared.inTurn(async () => {
      const isStopped = () => this.answerStops !== stopsBefore || this.shared.trouble !== undefined;
      const ask = await this.opened.asker(adapters, { onProgress, isStopped });
      if (!ask) return prompts.map(() => "");
      return gathered(onTexts, (add) => {
        const onText = (prompt: number, text: string): void => add({ prompt, text });
        return ask(prompts, { ...options, onText, isStopped });
      });
    });
  }

  async stopAnswers(): Promise<void> {
    this.answerStops++;
  }

  openBase(model: Folder): Promise<Result<BaseFacts>> {
    return this.shared.inTurn(() => this.opened.openShelf(model));
  }

  async closeBase(): Promise<void> {
    await this.shared.inTurn(async () => this.opened.endShelf());
  }

  openAdapter(
    source: AdapterSource,
    onProgress: (progress: Progress) => void,
  ): Promise<Result<OpenedAdapterFacts>> {
    const tell = seldom(onProgress);
    return this.shared.inTurn(() => {
      // One at a time: by now the one before has been opened, or was stopped.
      return this.opened.shelf().open(adapterOf(source), {
        signal: this.openingAdapter.begin(),
        onProgress: (done, total) => tell({ stage: "start", done, total }),
      });
    });
  }

  async stopOpeningAdapter(): Promise<void> {
    this.openingAdapter.stop();
  }

  adapterChanges(id: number): Promise<Result<readonly ParameterChange[]>> {
    return this.shared.inTurn(() => this.opened.shelf().changes(id));
  }

  async closeAdapter(id: number): Promise<void> {
    await this.shared.inTurn(async () => this.opened.shelf().close(id));
  }

  memory(): Promise<Result<MemoryEstimate>> {
    return atOnce(() => {
      const { bytes } = this.opened.base().gpu;
      const of = (purpose: keyof MemoryEstimate) => bytes.get(purpose) ?? 0;
      return {
        base: of("base"),
        adapter: of("adapter"),
        optimizer: of("optimizer"),
        activations: of("activations"),
        inputs: of("inputs"),
        control: of("control"),
      };
    });
  }

  exportChoices(): Promise<Result<readonly ExportChoice[]>> {
    return this.shared.inTurn(async () => {
      const { session, facts } = this.opened.trainedRun();
      return session.exportChoices(facts);
    });
  }

  export(format: ExportFormat, onProgress: (progress: Progress) => void): Promise<Result<Exported>> {
    const signal = this.exporter.work.begin();
    return this.shared.inTurn(async () => {
      const { session, facts } = this.opened.trainedRun();
      return this.exporter.export(session, format, facts, { signal, onProgress: seldom(onProgress) });
    });
  }

  async stopExport(): Promise<void> {
    this.exporter.work.stop();
  }

  async close(): Promise<void> {
    this.pauses++;
    await this.shared.inTurn(async () => this.opened.endRun());
  }
}

/** For what needs no turn: it is answered while steps are taken too. */
async function atOnce<T>(work: () => T | Promise<T>): Promise<Result<T>> {
  try {
    return success(await work());
  } catch (thrown) {
    return failure(thrown);
  }
}
