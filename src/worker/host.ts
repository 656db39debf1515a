/** The engine behind the worker's API: one device, one run at a time. It knows no worker, so Node can run it too. */
import { ConfigError, DataError, type DeviceError, failure, type Result, success } from "../base/errors.ts";
import { readJsonObject } from "../base/read-json.ts";
import type { FoundTemplate } from "../data/chat.ts";
import type { StartTemplatePort } from "../data/templateWorker.ts";
import { blobSource } from "../formats/sources.ts";
import { Gpu } from "../gpu/device.ts";
import { Kernels } from "../gpu/kernels.ts";
import type { AnswerOptions } from "../train/answers.ts";
import type { TrainConfig } from "../train/fields.ts";
import { type OpenedBase, openBase } from "../train/openBase.ts";
import { OpenData } from "../train/openData.ts";
import { previewModel } from "../train/previewModel.ts";
import { type RowReader, rowTokens } from "../train/rowTokens.ts";
import { parseRunFile, type RunConfig } from "../train/runFile.ts";
import { type ExportFacts, Session } from "../train/session.ts";
import { AdapterShelf } from "../train/shelf.ts";
import type {
  AdapterSource,
  AdapterUse,
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
  Prompt,
  RecordLine,
  RecordView,
  Report,
  RunSummary,
  TargetPreview,
  TrainApi,
  TrainOutcome,
} from "./api.ts";
import { Batches } from "./batches.ts";
import { type FoundDevice, faultError, lostError } from "./device.ts";
import { EncodedCache } from "./encodedCache.ts";
import { Exporter } from "./exporter.ts";
import { ExportStore } from "./exportStore.ts";
import { adapterOf, folderOf } from "./sources.ts";
import { summaryOf } from "./summary.ts";

/** About what a person sees as one moment. */
const REPORT_INTERVAL_MS = 50;
/** How long a failed command may wait for the news that the device was lost. */
const LOSS_NEWS_MS = 1000;

interface HeldDevice {
  readonly gpu: Gpu;
  /** Pipelines outlive a run: the next one with the same kernels compiles nothing. */
  readonly kernels: Kernels;
  readonly facts: DeviceFacts;
  readonly lost: Promise<void>;
  /** The device is lost, or something it was asked to do failed on its side: its results cannot be trusted. */
  trouble: DeviceError | undefined;
}

/** What a run and adapters from files share where they stand on the same files. */
interface SharedBase extends OpenedBase {
  readonly filesKey: string;
}

interface OpenRun {
  readonly session: Session;
  readonly base: SharedBase;
  readonly held: HeldDevice;
  readonly modelLabel: string;
  readonly dataName: string;
  prepared: boolean;
}

export class TrainHost implements TrainApi {
  private readonly request: () => Promise<FoundDevice>;
  private readonly startTemplates: StartTemplatePort;
  private held: HeldDevice | undefined;
  private run: OpenRun | undefined;
  private shelf: AdapterShelf<SharedBase> | undefined;
  private onProgress: ((progress: Progress) => void) | undefined;
  private readonly data = new OpenData();
  /** How the data that was read last is meant. */
  private meaning: { train: TrainConfig; faulty: "refuse" | "skip" } | undefined;
  private readonly encoded = new EncodedCache();
  /** How the model that was opened last reads rows. */
  private reader: RowReader | undefined;
  private opening = new AbortController();
  private readonly exporter: Exporter;
  private pauses = 0;
  private answerStops = 0;
  private lossListeners: ((lost: Failure) => void)[] = [];
  /** Calls are answered one after the other, in the order in which they came. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    request: () => Promise<FoundDevice>,
    startTemplates: StartTemplatePort,
    store = new ExportStore(undefined),
  ) {
    this.request = request;
    this.startTemplates = startTemplates;
    this.exporter = new Exporter(store);
  }

  device(): Promise<Result<DeviceFacts>> {
    return this.inTurn(async () => (await this.acquire()).facts);
  }

  deviceLost(): Promise<Failure> {
    return new Promise((resolve) => this.lossListeners.push(resolve));
  }

  readData(request: DataRequest, onProgress: (progress: Progress) => void): Promise<Result<DataFacts>> {
    const { signal } = this.beginOpening();
    return this.inTurn(async () => {
      signal.throwIfAborted();
      return this.readRows(request, await runOf(request), signal, onProgress);
    });
  }

  editData(edit: DataEdit): Promise<Result<DataFacts>> {
    return this.inTurn(async () => {
      this.data.edit(edit);
      return this.factsNow();
    });
  }

  async dataLines(first: number, count: number): Promise<Result<readonly RecordLine[]>> {
    try {
      return success(this.data.lines(first, count));
    } catch (thrown) {
      return failure(thrown);
    }
  }

  async dataRecord(record: number): Promise<Result<RecordView>> {
    try {
      const values = this.data.values(record);
      const row = this.data.row(record);
      if (!row || !this.reader) return success({ values, tokens: undefined });
      const tokens = await rowTokens(row, this.reader).then(success, failure);
      return success({ values, tokens });
    } catch (thrown) {
      return failure(thrown);
    }
  }

  async previewTargets({ model, adapter, ...settings }: PreviewRequest): Promise<Result<TargetPreview>> {
    try {
      const from = adapter && adapterOf(adapter);
      return success(await previewModel(folderOf(model), settings, from));
    } catch (thrown) {
      return failure(thrown);
    }
  }

  open(request: OpenRequest, onProgress: (progress: Progress) => void): Promise<Result<RunSummary>> {
    this.pauses++;
    const { signal } = this.beginOpening();
    return this.inTurn(async () => {
      this.endRun();
      signal.throwIfAborted();
      const { model, adapter } = request;
      const run = await runOf(request);
      await this.readRows(request, run, signal, onProgress);
      const dataset = this.data.dataset(run.train, faultyOf(request));
      const held = await this.acquire();
      const base = await this.baseOf(held, model);
      const session = await Session.open(
        held.gpu,
        held.kernels,
        {
          ...{ model: folderOf(model), base, adapter: adapter && adapterOf(adapter) },
          rows: dataset.train,
          heldOut: dataset.heldOut,
          run,
          chatTemplate: await templateOf(request),
          startTemplates: this.startTemplates,
          encode: (rows, reader) => {
            this.reader = reader;
            const progress = (done: number, total: number) => onProgress({ stage: "encode", done, total });
            return this.encoded.encode(rows, reader, filesKey(model.files), { signal, onProgress: progress });
          },
        },
        { onProgress: (stage, done, total) => this.onProgress?.({ stage, done, total }) },
      );
      const dataName = request.data.map(({ name }) => name).join(", ");
      this.run = { session, base, held, modelLabel: model.label, dataName, prepared: false };
      return summaryOf(session, dataset.parsed, run.train);
    });
  }

  async stopOpening(): Promise<void> {
    const found = "It was stopped before all rows were read.";
    this.opening.abort(new DataError("stopped", found, "Press Train, and it goes on."));
  }

  train(
    onProgress: (progress: Progress) => void,
    onReports: (reports: readonly Report[]) => void,
  ): Promise<Result<TrainOutcome>> {
    const pausesBefore = this.pauses;
    return this.inTurn(async () => {
      const { session, held } = this.opened();
      const isStopped = () => this.pauses !== pausesBefore || held.trouble !== undefined;
      if (await this.prepare(onProgress, isStopped)) {
        await gathered(onReports, (add) => session.run(add, isStopped));
      }
      return session.outcome;
    });
  }

  answers(
    { prompts, adapters, ...options }: AnswerRequest,
    onProgress: (progress: Progress) => void,
    onTexts: (texts: readonly AnswerText[]) => void,
  ): Promise<Result<readonly string[]>> {
    const stopsBefore = this.answerStops;
    return this.inTurn(async () => {
      const isStopped = () => this.answerStops !== stopsBefore || this.held?.trouble !== undefined;
      const ask = adapters
        ? await this.together(adapters, onProgress, isStopped)
        : await this.asItIs(onProgress, isStopped);
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
    return this.inTurn(async () => {
      const held = await this.acquire();
      const base = await this.baseOf(held, model);
      this.endShelf(base);
      this.shelf = new AdapterShelf(base, this.startTemplates);
      const { config } = base.opened.model;
      const { modelType, layers } = config;
      const parameters = base.opened.model.parameterCount();
      return { label: model.label, modelType, parameters, layers, ofRun: base === this.run?.base };
    });
  }

  async closeBase(): Promise<void> {
    await this.inTurn(async () => this.endShelf());
  }

  openAdapter(source: AdapterSource): Promise<Result<OpenedAdapterFacts>> {
    return this.inTurn(() => this.shelved().open(adapterOf(source)));
  }

  adapterChanges(id: number): Promise<Result<readonly ParameterChange[]>> {
    return this.inTurn(() => this.shelved().changes(id));
  }

  async closeAdapter(id: number): Promise<void> {
    await this.inTurn(async () => this.shelf?.close(id));
  }

  async memory(): Promise<Result<MemoryEstimate>> {
    try {
      const { bytes } = this.shelf ? this.shelf.base.gpu : this.opened().held.gpu;
      const of = (purpose: keyof MemoryEstimate) => bytes.get(purpose) ?? 0;
      return success({
        base: of("base"),
        adapter: of("adapter"),
        optimizer: of("optimizer"),
        activations: of("activations"),
        inputs: of("inputs"),
        control: of("control"),
      });
    } catch (thrown) {
      return failure(thrown);
    }
  }

  async pause(): Promise<void> {
    this.pauses++;
  }

  exportChoices(): Promise<Result<readonly ExportChoice[]>> {
    return this.inTurn(async () => {
      const run = this.trained();
      return run.session.exportChoices(factsOf(run));
    });
  }

  export(format: ExportFormat, onProgress: (progress: Progress) => void): Promise<Result<Exported>> {
    const signal = this.exporter.begin();
    return this.inTurn(async () => {
      const run = this.trained();
      return this.exporter.export(run.session, format, factsOf(run), {
        signal,
        onProgress: seldom(onProgress),
      });
    });
  }

  async stopExport(): Promise<void> {
    this.exporter.stop();
  }

  async close(): Promise<void> {
    this.pauses++;
    await this.inTurn(async () => this.endRun());
  }

  /** Loads and compiles the open run. False where it was stopped before it took anything. */
  private async prepare(
    onProgress: (progress: Progress) => void,
    isStopped: () => boolean,
  ): Promise<boolean> {
    const run = this.opened();
    this.onProgress = onProgress;
    if (run.prepared) return true;
    try {
      if (!(await run.session.prepare(isStopped))) return false;
      // Only now has the device seen every command, and said whether its memory was enough.
      await run.held.gpu.device.queue.onSubmittedWorkDone();
      run.prepared = true;
      return true;
    } catch (thrown) {
      this.endRun();
      throw thrown;
    }
  }

  private async asItIs(
    onProgress: (progress: Progress) => void,
    isStopped: () => boolean,
  ): Promise<Ask | undefined> {
    const { session } = this.opened();
    if (!(await this.prepare(onProgress, isStopped))) return undefined;
    return (prompts, options) => session.answers(prompts, options);
  }

  /** The base that is open for adapters, or else the run's, with these on. */
  private async together(
    uses: readonly AdapterUse[],
    onProgress: (progress: Progress) => void,
    isStopped: () => boolean,
  ): Promise<Ask | undefined> {
    const shelf = this.shelf ?? new AdapterShelf(this.opened().base, this.startTemplates);
    const wantsRun = shelf.base === this.run?.base && uses.some(({ id }) => id === "run");
    if (wantsRun && !(await this.prepare(onProgress, isStopped))) return undefined;
    const session = wantsRun ? this.opened().session : undefined;
    const onLoad = (done: number, total: number) => onProgress({ stage: "load", done, total });
    const ofRun = session && (() => session.trained());
    return (prompts, options) => shelf.answers(uses, prompts, { ...options, onLoad }, ofRun);
  }

  private shelved(): AdapterShelf<SharedBase> {
    if (this.shelf) return this.shelf;
    throw new ConfigError("nothing-open", "No base model is open for adapters.", "Open one first.");
  }

  /** The base of these files; where it is open already, that. */
  private async baseOf({ gpu, kernels }: HeldDevice, model: Folder): Promise<SharedBase> {
    const key = filesKey(model.files);
    const there = [this.run?.base, this.shelf?.base].find((base) => base?.filesKey === key);
    return there ?? { ...(await openBase(gpu, kernels, folderOf(model))), filesKey: key };
  }

  /** Gives a base back that nothing stands on any more. */
  private free(base: SharedBase | undefined): void {
    if (base && base !== this.run?.base && base !== this.shelf?.base) base.frozen.destroy();
  }

  private endShelf(next?: SharedBase): void {
    const base = this.shelf?.base;
    this.shelf = undefined;
    if (base !== next) this.free(base);
  }

  private trained(): OpenRun {
    const run = this.opened();
    if (run.session.reports.length > 0) return run;
    throw new ConfigError("not-trained", "No step was taken, so there is no adapter yet.", "Train first.");
  }

  private opened(): OpenRun {
    if (this.held?.trouble) throw this.held.trouble;
    if (this.run) return this.run;
    throw new ConfigError("nothing-open", "No run is open.", "Open a model and data first.");
  }

  /** What was being opened is stopped: what counts is what is asked for now. */
  private beginOpening(): AbortController {
    void this.stopOpening();
    this.opening = new AbortController();
    return this.opening;
  }

  private async readRows(
    request: DataRequest,
    { train }: RunConfig,
    signal: AbortSignal,
    onProgress: (progress: Progress) => void,
  ): Promise<DataFacts> {
    const { data, heldOut = [] } = request;
    const sourcesOf = (files: readonly File[]) => files.map((file) => blobSource(file, file.name));
    const key = `${filesKey(data)} ${filesKey(heldOut)}`;
    const tell = seldom(onProgress);
    const sources = { train: sourcesOf(data), heldOut: sourcesOf(heldOut), key };
    await this.data.read(sources, train, {
      signal,
      onProgress: (done, total) => tell({ stage: "read", done, total }),
    });
    this.meaning = { train, faulty: faultyOf(request) };
    return this.factsNow();
  }

  private factsNow(): DataFacts {
    if (!this.meaning) throw new ConfigError("no-data", "No data was read.", "Choose data first.");
    return this.data.facts(this.meaning.train, this.meaning.faulty);
  }

  private endRun(): void {
    this.reader?.options.template.close();
    const base = this.run?.base;
    this.run?.session.destroy();
    this.run = undefined;
    this.free(base);
    this.onProgress = undefined;
  }

  private async acquire(): Promise<HeldDevice> {
    if (this.held && !this.held.trouble) return this.held;
    this.release();
    const { device, facts } = await this.request();
    const gpu = new Gpu(device);
    const lost = device.lost.then((info) => {
      held.trouble ??= lostError(info);
      // Not where we gave it back.
      if (this.held === held) for (const tell of this.lossListeners.splice(0)) tell(failure(held.trouble));
    });
    const held: HeldDevice = { gpu, kernels: new Kernels(gpu), facts, lost, trouble: undefined };
    device.addEventListener("uncapturederror", ({ error }) => {
      held.trouble ??= faultError(error);
    });
    this.held = held;
    return held;
  }

  /** Whoever goes on begins with a fresh device. */
  private release(): void {
    this.endRun();
    this.endShelf();
    const { held } = this;
    this.held = undefined;
    held?.gpu.device.destroy();
  }

  private inTurn<T>(work: () => Promise<T>): Promise<Result<T>> {
    const answer = this.turn.then(async (): Promise<Result<T>> => {
      try {
        const value = await work();
        if (this.held?.trouble) throw this.held.trouble;
        return success(value);
      } catch (thrown) {
        return failure(await this.reasonOf(thrown));
      }
    });
    this.turn = answer;
    return answer;
  }

  /** A lost device makes whatever was awaited fail with an error of its own, and says only then that it is lost. */
  private async reasonOf(thrown: unknown): Promise<unknown> {
    const { held } = this;
    if (!held) return thrown;
    const unexpected = failure(thrown).code === "internal";
    if (unexpected && !held.trouble) await Promise.race([held.lost, wait(LOSS_NEWS_MS)]);
    if (!held.trouble) return thrown;
    // The run's buffers are gone, or hold nobody knows what.
    this.release();
    return held.trouble;
  }
}

/** Asks a model. */
type Ask = (prompts: readonly Prompt[], options: AnswerOptions) => Promise<readonly string[]>;

function factsOf({ modelLabel, dataName, held }: OpenRun): ExportFacts {
  return { baseModel: modelLabel, dataset: dataName, device: held.facts.description };
}

async function runOf({ run }: DataRequest): Promise<RunConfig> {
  if (!(run instanceof File)) return parseRunFile(run, "the run");
  return parseRunFile(await readJsonObject(blobSource(run, run.name)), run.name);
}

function faultyOf({ faulty = "refuse" }: DataRequest): "refuse" | "skip" {
  return faulty;
}

async function templateOf({ chatTemplate }: OpenRequest): Promise<FoundTemplate | undefined> {
  return chatTemplate && { template: await chatTemplate.text() };
}

/** Equal for files that have not changed. */
function filesKey(files: readonly File[]): string {
  return JSON.stringify(files.map(({ name, size, lastModified }) => [name, size, lastModified]));
}

/** Runs `work`, whose items are handed on in batches, all of them before its end is told. */
async function gathered<Item, T>(
  send: (items: readonly Item[]) => unknown,
  work: (add: (item: Item) => void) => Promise<T>,
): Promise<T> {
  let delivered: unknown;
  const batches = new Batches<Item>((items) => {
    delivered = send(items);
  }, REPORT_INTERVAL_MS);
  try {
    return await work((item) => batches.add(item));
  } finally {
    batches.flush();
    // A proxy answers once the page has taken it: items travel by another port than the outcome.
    await delivered;
  }
}

/** Tells of each stage as often as a person can follow. */
function seldom(tell: (progress: Progress) => void): (progress: Progress) => void {
  let told: { readonly stage: string; readonly atMs: number } | undefined;
  return (progress) => {
    const nowMs = performance.now();
    if (told?.stage === progress.stage && nowMs - told.atMs < REPORT_INTERVAL_MS) return;
    told = { stage: progress.stage, atMs: nowMs };
    tell(progress);
  };
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
